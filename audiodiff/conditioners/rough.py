"""The rough signal that a bridge starts from."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from audiodiff.audio.prior import Prior
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.nn.condition import Condition
from audiodiff.nn.unet1d import length_mask


class RoughSignal(Conditioner):
    """The whitened mean of a prior, computed from a log-mel, as a signal (B, 1, T).

    Args:
        prior: with a mean.
    """

    name = "rough"
    signal_channels = 1

    def __init__(self, prior: Prior):
        super().__init__()
        self.prior = prior

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Of `mel` (B, M, F), `length` samples, of which `samples` (B,) are valid."""
        return Condition(signal=self.compute(batch["mel"], batch["length"], batch.get("samples")))

    def compute(self, mel: Tensor, length: int, samples: Tensor | None = None) -> Tensor:
        """The signal (B, 1, length) of log-mels (B, M, F), zero beyond `samples` (B,)."""
        mean = self.prior.mean(mel, length)
        if samples is not None:
            mean = mean * length_mask(samples, length, mean.dtype)[:, 0]
        return self.prior.whiten(mean, mel)[:, None]
