"""The training command: `python train.py +recipe=speech_mel`, from any folder, from a source tree or a wheel."""

import errno
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from audiodiff import config, runs
from audiodiff.errors import UserError, warn_in_one_line
from audiodiff.files import folder_lock

if TYPE_CHECKING:
    from audiodiff.models.diffusion_model import DiffusionModel

# What a disk returns that is full ...
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# ... or write-protected, or does not let this user read or write, or has something else at the place of a folder.
DISK_REFUSALS = {
    *DISK_FULL,
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG),
}
# What a network's weights take for granted of the model around it.
COMPATIBILITY_FIELDS = (
    "schedule",
    "objective",
    "mel_spec",
    "prior",
    "bridge",
    "sample_rate",
    "spectrum",
    "labels",
    "numbers",
)


def main() -> None:
    """Entry point: complete the command line of a run to be resumed, check it, then hand it to Hydra."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # what goes wrong before `_run` comes here, not into many lines
    try:
        sys.argv[1:] = config.check(runs.resume_arguments(sys.argv[1:]))
        runs.register()
        hydra.main(version_base="1.3", config_path=str(config.conf_folder()), config_name=config.PRIMARY)(_run)()
    except UserError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__ or cause.__context__
        sys.exit(f"error: {cause or ' '.join(str(error).split())}")
    except OSError as error:
        _exit_if_disk_refuses(error, "the run's folder")
        raise


def _disk_refuses(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_REFUSALS


def _exit_if_disk_refuses(error: OSError, folder: str) -> None:
    """End with one line if the disk is at fault."""
    if _disk_refuses(error):
        full = error.errno in DISK_FULL
        problem = f"cannot be {'written' if full else 'used'} ({error.strerror})"
        fix = f"{'free some space' if full else 'check its permissions'} or choose another folder"
        sys.exit(f"error: {UserError(error.filename or folder, problem, f'{fix}; resume= goes on from what is saved')}")


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Report what ends a thread, but for refusals of the disk: a logger's thread hands them on to the main one."""
    if not _disk_refuses(arguments.exc_value):
        threading.__excepthook__(arguments)


def _run(cfg: DictConfig) -> float:
    import torch
    from lightning.pytorch.utilities import rank_zero_only

    warn_in_one_line()
    threading.excepthook = _report_thread
    torch.set_flush_denormal(True)  # silence leads to denormal numbers, which are slow
    try:
        loss = run(cfg, Path(cfg.folder), HydraConfig.get().overrides.task)
        rank_zero_only(print)(f"model: {Path(cfg.folder, 'model')}")
        return loss
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        _exit_if_disk_refuses(error, cfg.folder)
        raise


def run(cfg: DictConfig, folder: Path, overrides: Sequence[str] | None = None) -> float:
    """Train as configured, then validate, which exports the model to `<folder>/model`.

    Args:
        cfg: a composed configuration.
        folder: of the run; no other process may train there.
        overrides: that `cfg` was composed of, for `resume=`.

    Returns:
        The validation loss at the end.

    Raises:
        UserError: a value that cannot be, there is no data, nothing to resume, the configuration differs from the run's
            to be resumed, another process holds the folder, or the run broke down.
    """
    from lightning.pytorch.utilities import rank_zero_only

    with folder_lock(folder) if rank_zero_only.rank == 0 else nullcontext():
        return _train(cfg, folder, overrides)


def _train(cfg: DictConfig, folder: Path, overrides: Sequence[str] | None) -> float:
    import logging

    import lightning
    from lightning.pytorch.callbacks import LambdaCallback
    from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

    from audiodiff import schema
    from audiodiff.training.callbacks import newest_checkpoint
    from audiodiff.training.resume import load_description, restore

    schema.check(cfg)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    resume = newest_checkpoint(folder) if cfg.resume else None
    description = load_description(resume, folder) if resume else {}
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    schema.build(cfg, "prepare")
    data = schema.build(cfg, "data")
    model = schema.build(cfg, "model")
    data.setup("fit")
    started_from = start(model, cfg.init_from) if cfg.init_from and not resume else {}
    module = schema.build(cfg, "training", model=model)
    clips = data.prepared().with_splits("train")
    module.started_from = started_from
    module.training_clips = {"path": str(data.path), "clips": len(clips), "hash": clips.content_hash()}
    if resume:
        restore(description, module, folder)
    callbacks = [callback for callback in schema.build(cfg, "callbacks").values() if callback is not None]
    if overrides is not None:  # with every checkpoint: a failed start keeps the overrides of existing checkpoints
        save = rank_zero_only(lambda *_: runs.save_overrides(folder, overrides))
        callbacks.insert(0, LambdaCallback(on_save_checkpoint=save))
    trainer = schema.build(cfg, "trainer", callbacks=callbacks, logger=schema.build(cfg, "logger") or False)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    if resume and resume.stem == f"step={trainer.global_step:09d}":
        limits = "raise trainer.max_steps or trainer.max_time"
        rank_zero_warn(f"nothing left to train: {folder} is at step {trainer.global_step}; {limits}")
    return trainer.validate(module, datamodule=data, verbose=False)[0]["validation/loss"]


def start(model: "DiffusionModel", name: str) -> dict:
    """Give a model the weights of a checkpoint, and its grids where they still say the same.

    Returns:
        What that checkpoint's training recorded of itself, and its hash.

    Warns:
        UserWarning: the weights fit, but were trained inside of other parts than this model's.

    Raises:
        UserError: there is no such checkpoint, or its weights are another model's.
    """
    import warnings

    from audiodiff.models import checkpoint
    from audiodiff.models.codec import Codec, codec_of

    found = checkpoint.load(name)
    if model.TYPE == Codec.TYPE:
        found = codec_of(found)
    if found.type != model.TYPE:
        raise UserError(name, f"is a model of type {found.type!r}, not {model.TYPE!r}", "choose one")
    try:
        model.load_weights(found.weights)
    except (RuntimeError, LookupError) as error:
        problem = f"does not fit this configuration ({' '.join(str(error).split())[:200]})"
        raise UserError(name, problem, f"configure the network that `audiodiff info {name}` shows") from error
    if "spectrum" in model.ARGUMENTS and model.spectrum is None:
        model.spectrum = found.arguments.get("spectrum")  # of what the weights were trained on, not of the new data
    parts = [part for part in COMPATIBILITY_FIELDS if part in model.ARGUMENTS]
    theirs = {part: checkpoint.describe(found.arguments.get(part)) for part in parts}
    other = [part for part in parts if checkpoint.describe(getattr(model, part)) != theirs[part]]
    if other:
        warnings.warn(f"{name} was trained with another {', '.join(other)} than this run", stacklevel=2)
    if "grids" in model.ARGUMENTS and not {"schedule", "objective"} & set(other):  # which say where sampling starts
        model.grids = tuple(found.arguments.get("grids", ()))
    return found.training | {"hash": found.digest}


if __name__ == "__main__":
    main()
