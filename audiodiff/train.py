"""The training command: `python train.py +recipe=speech_mel`, from any folder, source tree or wheel."""

import ctypes
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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audiodiff import config, runs
from audiodiff.errors import UserError, warn_in_one_line
from audiodiff.files import folder_lock

if TYPE_CHECKING:
    from audiodiff.models.diffusion_model import DiffusionModel
    from audiodiff.training.adaptation import Adaptation

# Errors of a full disk ...
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# ... and of missing permissions, or of a file in the place of a folder.
DISK_REFUSALS = {
    *DISK_FULL,
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG),
}
# Of mallopt(3): no trimming (M_TRIM_THRESHOLD), and blocks from the heap up to its largest M_MMAP_THRESHOLD.
_RETAIN = ((-1, -1), (-3, 32 << 20))
# Arguments of a model that must be the same for its network's weights to keep their meaning.
COMPATIBILITY_FIELDS = (
    "schedule",
    "objective",
    "mel_spec",
    "prior",
    "bridge",
    "input_consistency",
    "sample_rate",
    "spectrum",
    "conditioners",
    "symbols",
    "prior_mean",
)
# Arguments that a run takes from the model that it starts from, where its configuration has none: what is measured on
# data, since the weights expect those of earlier data, and the default guidance.
INHERITED = ("spectrum", "normalization", "guidance")


def main() -> None:
    """Entry point: complete the command line of a resumed run, check it, then pass it to Hydra."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors before `_run` are handled below, in one line
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
    """Exit with one line if the error is of the disk."""
    if _disk_refuses(error):
        full = error.errno in DISK_FULL
        problem = f"cannot be {'written' if full else 'used'} ({error.strerror})"
        fix = f"{'free some space' if full else 'check its permissions'} or choose another folder"
        sys.exit(f"error: {UserError(error.filename or folder, problem, f'{fix}; then continue with resume=')}")


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Report uncaught errors of threads, except disk errors, which loggers pass on to the main thread."""
    if not _disk_refuses(arguments.exc_value):
        threading.__excepthook__(arguments)


def _run(cfg: DictConfig) -> float:
    import torch
    from lightning.pytorch.utilities import rank_zero_only

    warn_in_one_line()
    threading.excepthook = _report_thread
    torch.set_flush_denormal(True)  # silence produces denormal numbers, which are slow
    retain_freed_memory()
    try:
        loss = run(cfg, Path(cfg.folder), HydraConfig.get().overrides.task)
        exported = "adapter" if cfg.get("adapter") else "model"
        rank_zero_only(print)(f"{exported}: {Path(cfg.folder, exported)}")
        return loss
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        _exit_if_disk_refuses(error, cfg.folder)
        raise


def retain_freed_memory() -> bool:
    """Let the C library keep freed memory: every step allocates the same tensors, and returned pages cost page faults.

    Returns:
        Whether the C library can (glibc).
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return all(mallopt(*setting) for setting in _RETAIN)
    except (OSError, AttributeError):
        return False


def run(cfg: DictConfig, folder: Path, overrides: Sequence[str] | None = None) -> float:
    """Train as configured, then validate and export the model to `<folder>/model`.

    Args:
        cfg: a composed configuration.
        folder: of the run, locked while it trains.
        overrides: that `cfg` was composed from, saved for `resume=`.

    Returns:
        The final validation loss.

    Raises:
        UserError: a value is invalid, data or the checkpoint to resume from are missing, the configuration differs from
            that of the resumed run, another process trains in the folder, or training diverged.
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
    from audiodiff.conditioners.conditioner import without_weights
    from audiodiff.training.callbacks import newest_checkpoint
    from audiodiff.training.resume import load_description, restore

    if OmegaConf.is_missing(cfg, "codec") and cfg.init_from:
        cfg.codec = cfg.init_from  # a generator of latents has its codec
    schema.check(cfg)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    resume = newest_checkpoint(folder) if cfg.resume else None
    description = load_description(resume, folder) if resume else {}
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    schema.build(cfg, "prepare")
    data, adaptation = schema.build(cfg, "data"), schema.build(cfg, "adapter")
    model, started_from = adapted(cfg, adaptation, description) if adaptation else (schema.build(cfg, "model"), {})
    data.conditioners = without_weights(model.conditioners)
    data.setup("fit")
    clips = data.prepared().with_splits("train")
    if adaptation:
        adaptation.check(clips.clips)
    for conditioner in [] if adaptation else model.conditioners:
        conditioner.fit(clips.clips)
    if cfg.init_from and not resume and not adaptation:
        started_from = start(model, cfg.init_from)
    module = schema.build(cfg, "training", model=model, adaptation=adaptation)
    module.started_from, module.arguments = started_from, schema.describe(cfg, "task", "tuning")
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
    loss = trainer.validate(module, datamodule=data, verbose=False)[0]["validation/loss"]
    if module.forgetting.get("exceeded") and not (folder / ("adapter" if adaptation else "model")).is_dir():
        before, after = module.forgetting["before"], module.forgetting["after"]
        problem = f"was exceeded before anything was exported (base/loss {before:.3g}, then {after:.3g})"
        raise UserError("callbacks.forgetting.tolerance", problem, "lower optimizer.lr or trainer.val_check_interval")
    return loss


def adapted(cfg: DictConfig, adaptation: "Adaptation", description: dict) -> "tuple[DiffusionModel, dict]":
    """The model of `init_from`, or that of a run that is resumed, with an adapter to be trained; its training record.

    Args:
        cfg: the configuration.
        adaptation: the adapter.
        description: of the run that is resumed, whose checkpoint has weights and training record of the base; empty for
            a new one.

    Raises:
        UserError: no base is named, it is of another type than the recipe's model, or the task is a distillation.
    """
    from hydra.utils import get_object

    from audiodiff.models import checkpoint
    from audiodiff.models.registry import MODEL_TYPES, load_model
    from audiodiff.models.training_record import STARTED_FROM
    from audiodiff.training.tasks.distillation import DistillationTask

    task = get_object(cfg.task._target_)
    if isinstance(task, type) and issubclass(task, DistillationTask):
        problem = "cannot be distilled into: what a student is for stands in a model of its own"
        raise UserError("adapter", problem, "leave adapter out, or choose another task")
    if before := description.get("adapter"):
        arguments = {name: checkpoint.build(value) for name, value in description["model"].items()}
        model = MODEL_TYPES[description["type"]](**arguments)
        name = adaptation.follow(before, cfg.init_from)
        adaptation.inject(model, name, before["base"])
        return model, {}  # type: ignore[return-value]
    if not cfg.init_from:
        raise UserError("adapter", "has no base", "add init_from=MODEL, its folder or the name of a shipped model")
    found = checkpoint.load(cfg.init_from)
    wanted = get_object(cfg.model._target_).TYPE
    if found.type != wanted:
        problem = f"is a model of type {found.type!r:.40}, the recipe is for {wanted!r}"
        raise UserError(cfg.init_from, problem, "choose another recipe")
    model = load_model(found, cfg.init_from)
    adaptation.inject(model, str(cfg.init_from))
    record = found.training | {"hash": found.digest}
    if (first := adaptation.started) is not None:
        record = {STARTED_FROM: record} | first.training | {"hash": first.digest}
    return model, record  # type: ignore[return-value]


def start(model: "DiffusionModel", name: str) -> dict:
    """Initialize a model with weights and guidance of a checkpoint, and its time grids if the process is the same.

    Returns:
        The training record of that checkpoint, with its hash.

    Warns:
        UserWarning: the weights fit, but were trained with another schedule, prior or the like.

    Raises:
        UserError: there is no such checkpoint, or its weights do not fit the model.
    """
    import warnings

    from audiodiff.models import checkpoint
    from audiodiff.models.codec import Codec, codec_checkpoint

    found = checkpoint.load(name)
    if model.TYPE == Codec.TYPE:
        found = codec_checkpoint(found)
    if found.type != model.TYPE:
        raise UserError(
            name, f"is a model of type {found.type!r}, not {model.TYPE!r}", f"set init_from to a {model.TYPE}"
        )
    try:
        model.load_initial_weights(found.weights, found.arguments)
    except (RuntimeError, LookupError) as error:
        problem = f"does not fit this configuration ({' '.join(str(error).split())[:200]})"
        raise UserError(name, problem, f"configure the network that `audiodiff info {name}` shows") from error
    for part in INHERITED:
        if part in model.ARGUMENTS and getattr(model, part) is None:
            setattr(model, part, found.arguments.get(part))
    parts = [part for part in COMPATIBILITY_FIELDS if part in model.ARGUMENTS]
    theirs = {part: checkpoint.describe(found.arguments.get(part)) for part in parts}
    other = [part for part in parts if checkpoint.describe(getattr(model, part)) != theirs[part]]
    if other:
        warnings.warn(f"{name} was trained with another {', '.join(other)} than this run", stacklevel=2)
    if "grids" in model.ARGUMENTS and not {"schedule", "objective"} & set(
        other
    ):  # which determine where sampling starts
        model.grids = tuple(found.arguments.get("grids", ()))
    return found.training | {"hash": found.digest}


if __name__ == "__main__":
    main()
