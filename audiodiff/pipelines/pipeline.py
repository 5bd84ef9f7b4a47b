"""Base class of inference pipelines."""

import copy
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import torch

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.models import checkpoint, onnx_export
from audiodiff.models.adapted import AppliedAdapter, apply
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.convolution import pack
from audiodiff.pipelines.adapter_options import load_adapters
from audiodiff.pipelines.options import SamplingOptions

OptionsT = TypeVar("OptionsT", bound=SamplingOptions)
BACKENDS = ("torch", "onnx")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Progress:
    """Progress of sampling.

    Attributes:
        done: steps.
        total: steps.
        mel: of speech, the log-mel (M, F) as the model estimates it after this step.
        estimate: computes the audio of the first clip as the model estimates it after this step, before what follows
            sampling (levels, consistency, what is kept of a recording); to be called within the callback.
    """

    done: int
    total: int
    mel: torch.Tensor | None = None
    estimate: Callable[[], Audio] | None = field(default=None, compare=False, repr=False)


class Pipeline:
    """A model for inference on a device and in a precision.

    Args:
        model: it is not changed, so that it may go on training; on another device than its own it is copied.
        device: where the network runs; "auto" is CUDA, else MPS, else the CPU.
        precision: of the network: float32, bfloat16 or float16. The sampler's state stays in float32.
        model_hash: SHA-256 of the checkpoint that the model came from; empty if none.
        training: the checkpoint's training record.

    Attributes:
        folder: that it was loaded from, or the name of a shipped model; empty if none.

    Raises:
        UserError: an unknown precision, or the device is not available.
    """

    folder = ""
    MODEL: ClassVar[type[PretrainedModel]]

    def __init__(
        self,
        model: PretrainedModel,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        model_hash: str = "",
        training: dict | None = None,
    ):
        if precision not in PRECISIONS:
            raise UserError(f"precision {precision}", "unknown", f"choose one of {', '.join(PRECISIONS)}")
        self.device = resolve_device(device)
        here = torch.empty(0, device=self.device).device
        on_device = all(parameter.device == here for parameter in model.parameters())
        self.model = model if on_device else copy.deepcopy(model).to(self.device)
        self.precision, self.model_hash, self.training = precision, model_hash, training or {}
        self._adapted: tuple[tuple, Self] | None = None

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        backend: str = "torch",
        **options,
    ) -> Self:
        """Load a checkpoint folder, or a shipped model by its name; the other arguments are those of the class.

        Args:
            folder: of a checkpoint; with the backend "onnx", of an exported model.
            device, precision: of the network; an exported model runs on the CPU in float32.
            backend: what evaluates the network, one of `BACKENDS`.
            options: further arguments of the class.

        Raises:
            UserError: the folder is missing, damaged or of another type of model, the device is not available, or
                another backend than the folder is for.
        """
        if backend not in BACKENDS:
            raise UserError(f"backend {backend!r:.40}", "unknown", f"choose one of {', '.join(BACKENDS)}")
        if backend == "onnx":
            if str(device) not in ("cpu", "auto") or precision != "float32":
                subject = f"device {device}, precision {precision}"
                raise UserError(subject, "an exported model runs on the CPU in float32", "leave both out")
            export = onnx_export.read(folder)
            exported = export.model(cls.MODEL).requires_grad_(False)  # type: ignore[type-var]
            loaded = cls(exported, "cpu", precision, export.digest, export.config.get("training"), **options)
            loaded.folder = _name(folder)
            return loaded
        found = checkpoint.load(folder)
        model = cls.MODEL.from_checkpoint(found, folder).requires_grad_(False).to(resolve_device(device))
        pack(model)
        loaded = cls(model, device, precision, found.digest, found.training, **options)
        loaded.folder = _name(folder)
        return loaded

    @classmethod
    def untrained(cls, folder: str | Path, device: str | torch.device = "cpu", seed: int = 0) -> Self:
        """A checkpoint's model with random weights, as before training: a baseline."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = cls.MODEL(**checkpoint.load(folder, initialize=True).arguments)
        return cls(model.requires_grad_(False).eval(), device)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio, in Hz."""
        return self.model.sample_rate  # type: ignore[return-value]

    def with_adapters(self, adapters: Sequence[AppliedAdapter]) -> Self:
        """The pipeline with adapters applied to its model; itself where none has a scale other than 0.

        The last one is remembered. With adapters of a noise-level interval it serves one thread at a time, since the
        weights change from step to step.

        Raises:
            UserError: an adapter of another base, or the model is an exported one.
        """
        active = tuple(one for one in adapters if one.scale != 0)
        if not active:
            return self
        remembered = self._adapted  # which another thread may replace
        if remembered is not None and list(map(_effect, remembered[0])) == list(map(_effect, active)):
            return remembered[1]
        adapted = copy.copy(self)
        adapted._adapted = None
        adapted._set_model(apply(self.model, active))
        self._adapted = active, adapted
        return adapted

    def adapted_for(self, options: OptionsT) -> tuple[Self, OptionsT]:
        """The pipeline with the adapters of options, and the options without them; raises as `with_adapters`."""
        if not options.adapters:
            return self, options
        return self.with_adapters(load_adapters(options.adapters)), replace(options, adapters=())

    def _set_model(self, model: PretrainedModel) -> None:
        """Replace the model, and what was derived from it."""
        self.model = model

    def _context(self) -> AbstractContextManager:
        """Context in which the network runs."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()


def _name(folder: str | Path) -> str:
    """A name as it is, and a folder by its absolute path."""
    return os.path.abspath(folder) if os.path.exists(folder) else str(folder)


def _effect(one: AppliedAdapter) -> tuple:
    """What distinguishes applied adapters, which every request loads anew; those that were not stored have no hash."""
    return one.adapter.digest or id(one.adapter), one.scale, one.interval


def resolve_device(name: str | torch.device) -> torch.device:
    """A device by its name; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name}", str(error).splitlines()[0], "use --device cpu") from error
    return device
