"""Guidance by extrapolation as settings: of a model where the user says nothing, and of a request."""

import math
from dataclasses import dataclass
from typing import Any

from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.ranges import UnitInterval

MAX_SCALE = 100


@dataclass(frozen=True)
class GuidanceSetting:
    """How to guide; a component of a model's checkpoint.

    Args:
        scale: guidance scale, at most `MAX_SCALE`; 1 is the model as trained.
        rescale: as of `ClassifierFree`.
        lowest, highest: log-SNR between which guidance is applied; None: no bound.

    Raises:
        ValueError: a scale out of range, or the lower bound is the higher one.
    """

    scale: float = 1.0
    rescale: UnitInterval = 0.0
    lowest: float | None = None
    highest: float | None = None

    def __post_init__(self):
        """Check the values against each other."""
        low, high = self.interval or (0.0, 0.0)
        if not abs(self.scale) <= MAX_SCALE or not low <= high:
            raise ValueError(f"guidance by {self.scale:g} between a log-SNR of {low:g} and {high:g}")

    @property
    def interval(self) -> tuple[float, float] | None:
        """(lowest, highest) log-SNR, as of `ClassifierFree`; None: everywhere."""
        if self.lowest is None and self.highest is None:
            return None
        return -math.inf if self.lowest is None else self.lowest, math.inf if self.highest is None else self.highest

    def __str__(self) -> str:
        """Format for people, such as "scale 3, rescale 0.5, log-SNR -4 to 4"."""
        parts = [f"scale {self.scale:g}"] + ([f"rescale {self.rescale:g}"] if self.rescale else [])
        if self.interval is not None:
            low, high = ("any" if end is None else f"{end:g}" for end in (self.lowest, self.highest))
            parts.append(f"log-SNR {low} to {high}")
        return ", ".join(parts)

    def guide(self, denoiser: DenoiserLike, unconditional: Any) -> DenoiserLike:
        """The denoiser with classifier-free guidance away from a condition; without, where the scale is 1."""
        if self.scale == 1:
            return denoiser
        return ClassifierFree(denoiser, self.scale, unconditional, self.rescale, self.interval)
