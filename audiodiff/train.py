"""The training command: `python train.py +recipe=speech_mel`, from any folder, from a source tree or a wheel."""

import os
import sys
from pathlib import Path

# Waiting threads that spin starve the readers of a small machine: set before torch is loaded anywhere.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from audiodiff import config
from audiodiff.errors import UserError


def main() -> None:
    """Entry point: check the command line, then hand it to Hydra."""
    try:
        config.check(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    hydra.main(version_base="1.3", config_path=str(config.conf_folder()), config_name=config.PRIMARY)(_run)()


def _run(cfg: DictConfig) -> float:
    import torch

    torch.set_flush_denormal(True)  # silence leads to denormal numbers, which are slow
    try:
        return run(cfg, Path(cfg.folder))
    except UserError as error:
        sys.exit(f"error: {error}")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            sys.exit(f"error: {error.__cause__}")
        sys.exit(f"error: {' '.join(str(error).split())}")


def run(cfg: DictConfig, folder: Path) -> float:
    """Train as configured, then validate, which exports the model to `<folder>/model`.

    Args:
        cfg: a composed configuration.
        folder: of the run.

    Returns:
        The validation loss at the end.

    Raises:
        UserError: there is no data, nothing to resume, or the run broke down.
    """
    import logging

    import lightning
    from hydra.utils import instantiate

    from audiodiff.synthesis.model import VocoderModel
    from audiodiff.training.callbacks import newest_checkpoint

    if str(cfg.trainer.precision).startswith("16"):
        raise UserError("trainer.precision", "float16 gradients are scaled, and clipped wrongly", "use bf16-mixed")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    resume = newest_checkpoint(folder) if cfg.resume else None
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data)
    data.setup("fit")
    model = instantiate(cfg.model)
    if cfg.init_from:
        start = VocoderModel.from_pretrained(cfg.init_from)
        try:
            model.network.load_state_dict(start.network.state_dict())
        except RuntimeError as error:
            raise UserError(
                cfg.init_from, f"its network is another ({str(error).splitlines()[0]})", "match network="
            ) from error
    module = instantiate(cfg.training, model=model)
    trainer = instantiate(
        cfg.trainer, callbacks=list(instantiate(cfg.callbacks).values()), logger=instantiate(cfg.logger)
    )
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    results = trainer.validate(module, datamodule=data, verbose=False)
    print(f"model: {folder / 'model'}")
    return results[0]["validation/loss"]


if __name__ == "__main__":
    main()
