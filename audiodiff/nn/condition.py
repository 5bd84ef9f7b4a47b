"""What a network is told besides its input."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Conditioning signals of a batch.

    Args:
        frames: (B, M, F) a signal on a slower clock, such as a normalised mel. Clips shorter than the longest of the
            batch hold their last frame.
        samples: (B,) int64, valid samples of each clip; what lies beyond is masked. None: all are valid.
    """

    frames: Tensor | None = None
    samples: Tensor | None = None

    def to(self, device: torch.device | str) -> "Condition":
        """The same condition on another device."""
        return replace(
            self,
            frames=None if self.frames is None else self.frames.to(device),
            samples=None if self.samples is None else self.samples.to(device),
        )
