"""Normalization of log-mels for a diffusion process: mean 0 and standard deviation 1 in every band.

Log-mels below a floor are raised to it first: digital silence lies far below any noise floor, and would take most of
the variance for a difference that is not audible.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from audiodiff.errors import UserError

_MIN_DEVIATION = 0.1
CEILING = 3.0  # deviations above the mean: the loudest frame of two hours of speech is 2.1 above it


class MelNormalization:
    """Mean and standard deviation of the bands of a log-mel.

    Args:
        mean, deviation: of each band.
        floor: log-mel that lower values are raised to.

    Raises:
        ValueError: lists of different length, not finite, or a deviation that is not positive.
    """

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], floor: float):
        if len(mean) != len(deviation) or not np.isfinite([*mean, *deviation, floor]).all() or min(deviation) <= 0:
            raise ValueError("a normalization needs a finite mean and a positive deviation for each band")
        self.mean, self.deviation = [float(value) for value in mean], [float(value) for value in deviation]
        self.floor = float(floor)

    @classmethod
    def from_mels(cls, mels: Iterable[Tensor], floor: float) -> "MelNormalization":
        """Measure the normalization of log-mels (M, F), every frame with equal weight.

        Raises:
            UserError: there is no frame.
        """
        frames = [mel.clamp(min=floor).double() for mel in mels]
        if not frames or not sum(mel.shape[-1] for mel in frames):
            raise UserError("training data", "has no frames to measure", "prepare more recordings")
        values = torch.cat(frames, dim=-1)
        deviation = values.std(-1, correction=0).clamp(min=_MIN_DEVIATION)
        return cls(values.mean(-1).tolist(), deviation.tolist(), floor)

    def normalize(self, mel: Tensor) -> Tensor:
        """Normalize log-mels (..., M, F)."""
        mean, deviation = self._columns(mel)
        return (mel.clamp(min=self.floor) - mean) / deviation

    def restore(self, normalized: Tensor) -> Tensor:
        """The inverse of `normalize`, for values above the floor and below the ceiling, which no sample passes."""
        mean, deviation = self._columns(normalized)
        return (normalized.clamp(max=CEILING) * deviation + mean).clamp(min=self.floor)

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.mean)[:, None], like.new_tensor(self.deviation)[:, None]
