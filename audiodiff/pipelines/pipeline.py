"""What users hold, whatever it makes: a trained model, where its network runs, and in which precision."""

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch

from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.diffusion_model import DiffusionModel

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Progress:
    """Where a sampling call stands: network calls done of how many."""

    done: int
    total: int


class Pipeline:
    """A model in use.

    Args:
        model: the composed model. It is used as it is and left as it is: it may go on training. On another device than
            the one where it runs it is copied.
        device: where the network runs.
        precision: of the network: float32, bfloat16 or float16. The sampler's state stays float32.
        model_hash: SHA-256 of the checkpoint it came from; empty if it came from none.
        training: what training recorded of itself.

    Raises:
        UserError: no such precision, or the device is not there.
    """

    MODEL: ClassVar[type[DiffusionModel]]

    def __init__(
        self,
        model: DiffusionModel,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        model_hash: str = "",
        training: dict | None = None,
    ):
        if precision not in PRECISIONS:
            raise UserError(precision, "is not a precision", f"choose one of {', '.join(PRECISIONS)}")
        self.device = _device(device)
        there = next(model.parameters()).device == torch.empty(0, device=self.device).device
        self.model = model if there else copy.deepcopy(model).to(self.device)
        self.precision, self.model_hash, self.training = precision, model_hash, training or {}

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device = "cpu", precision: str = "float32", **options
    ) -> Self:
        """Load a checkpoint folder; the other arguments are those of the class.

        Raises:
            UserError: the folder is missing, damaged or of another type of model, or the device is not there.
        """
        found = checkpoint.load(folder)
        model = cls.MODEL.from_checkpoint(found, folder).requires_grad_(False).to(_device(device))
        return cls(model, device, precision, found.digest, found.training, **options)

    @classmethod
    def untrained(cls, folder: str | Path, device: str | torch.device = "cpu", seed: int = 0) -> Self:
        """The same model with fresh weights: what the network is worth before training."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = cls.MODEL(**checkpoint.load(folder, initialize=True).arguments)
        return cls(model.requires_grad_(False).eval(), device)

    @property
    def sample_rate(self) -> int:
        """Of the audio it makes, in Hz."""
        return self.model.sample_rate

    def _context(self) -> AbstractContextManager:
        """That in which the network runs."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name}", str(error).splitlines()[0], "use --device cpu") from error
    return device
