"""What is known of each sample of the original from a degraded recording: an interval, and a first guess.

- A sample that was recorded as it is: its interval is that one value.
- A sample that was clipped at a level: everything from the level on, [level, inf), or (-inf, -level].
- A sample that is missing or covered by noise: everything.

A correction of the guess is followed by the projection onto these intervals, which is clamping: the closest signal that
agrees with the recording (the projection onto a convex set, as declippers use it: Kitic, Bertin and Gribonval 2015).
Samples that are known are thus returned bit by bit.

Inside of a gap the correction is faded in from both borders, where the guess, an extrapolation of the neighborhood, is
seamless: so is the result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from audiodiff.audio.linear_prediction import interpolate

FADE_SECONDS = 2e-3  # of a correction at the borders of a gap


@dataclass(frozen=True)
class Observation:
    """A degraded signal.

    Attributes:
        guess: (B, T) first estimate of the original; the recording itself where there is one.
        weight: (B, T) from 0 to 1, of what is added to it.
        lower, upper: (B, T) bounds of the original.
    """

    guess: Tensor
    weight: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def noisy(cls, recording: Tensor) -> Self:
        """A recording (B, T) of which no sample is known."""
        infinite = torch.full_like(recording, math.inf)
        return cls(recording, torch.ones_like(recording), -infinite, infinite)

    @classmethod
    def clipped(cls, recording: Tensor, level: Tensor) -> Self:
        """A recording (B, T) that was clipped at levels (B,), or above and below at (B, 2) positive ones."""
        above, below = (level if level.ndim == 2 else torch.stack([level, level], -1))[..., None].unbind(1)
        high, low = recording >= above, recording <= -below
        lower = torch.where(low, -math.inf, torch.where(high, above, recording))
        upper = torch.where(high, math.inf, torch.where(low, -below, recording))
        return cls(recording, (high | low).to(recording), lower, upper)

    @classmethod
    def with_gaps(cls, recording: Tensor, gaps: Sequence[Sequence[tuple[int, int]]], sample_rate: float) -> Self:
        """A recording (B, T) without its samples [start, stop) of each row's gaps.

        Args:
            recording: its samples in the gaps do not matter.
            gaps: of each row, in order.
            sample_rate: Hz.
        """
        guess, weight = recording.clone(), torch.zeros_like(recording)
        missing = torch.zeros_like(recording, dtype=torch.bool)
        for row, own in enumerate(gaps):
            for start, stop in own:
                weight[row, start:stop] = _fade(start, stop, recording.shape[-1], sample_rate)
                missing[row, start:stop] = True
            guess[row] = interpolate(recording[row], own, sample_rate)
        lower, upper = (torch.where(missing, sign * math.inf, recording) for sign in (-1, 1))
        return cls(guess, weight, lower, upper)

    @classmethod
    def cat(cls, rows: Sequence["Observation"]) -> Self:
        """Several of one length as one batch."""
        return cls(*(torch.cat([getattr(row, field.name) for row in rows]) for field in fields(cls)))

    @property
    def free(self) -> Tensor:
        """(B, T) 1 where a sample may be anything, else 0."""
        return (self.lower.isneginf() & self.upper.isposinf()).to(self.guess)

    @property
    def saturation(self) -> Tensor:
        """(B, T) 1 where a sample was clipped from above, -1 from below, else 0."""
        up, down = self.upper.isposinf(), self.lower.isneginf()
        return (up & ~down).to(self.guess) - (down & ~up).to(self.guess)

    def complete(self, correction: Tensor) -> Tensor:
        """The guess with a correction (B, T) added, within the bounds.

        The gradient is that of the sum alone: bounds without a gradient would never be left again.
        """
        return _Clamp.apply(self.guess + self.weight * correction, self.lower, self.upper)

    def repeated(self, times: int) -> "Observation":
        """The batch repeated `times` times, one after the other."""
        return Observation.cat([self] * times)


class _Clamp(torch.autograd.Function):
    """Clamping whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        return x.clamp(lower, upper)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


def _fade(start: int, stop: int, samples: int, sample_rate: float) -> Tensor:
    """The weights (stop - start,) of a gap: 0 at borders where a recording goes on, 1 behind the fade."""
    length = max(FADE_SECONDS * sample_rate, 1)
    place = torch.arange(start, stop, dtype=torch.float64) + 0.5
    near = [place - start] * (start > 0) + [stop - place] * (stop < samples)
    distance = torch.stack(near).amin(0) if near else torch.full_like(place, length)
    return (math.pi / 2 * (distance / length).clamp(max=1)).sin().square().float()
