"""What a network is told besides its input."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Conditioning signals of a batch.

    Args:
        frames: (B, M, F) a signal on a slower clock, such as a normalized mel. Clips shorter than the longest of the
            batch hold their last frame.
        samples: (B,) int64, valid samples of each clip; what lies beyond is masked. None: all are valid.
        signal: (B, S, T) signals on the clock of the input itself, such as an excitation.
        labels: (B, K) ones for what holds of each clip, such as its instrument, and zeros for what does not or is not
            said.
        numbers: (B, N) positive numbers that hold of each clip, such as its tempo, NaN for those that are not said.
    """

    frames: Tensor | None = None
    samples: Tensor | None = None
    signal: Tensor | None = None
    labels: Tensor | None = None
    numbers: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What is given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def repeated(self, times: int) -> "Condition":
        """The batch so many times, one after the other."""
        return replace(self, **{name: torch.cat([tensor] * times) for name, tensor in self.tensors().items()})

    def to(self, device: torch.device | str) -> "Condition":
        """The same condition on another device."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})
