"""Denoisers around denoisers: what guides, edits or lengthens is not a flag of a sampler but a denoiser of its own."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from audiodiff.diffusion.clips import check_clips
from audiodiff.diffusion.samplers.sampler import DenoiserLike, estimate, start_time
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.diffusion.variance import Posterior

Time = Tensor | float
"""A number for all clips, or (B,)."""


class Wrapper(ABC):
    """A denoiser that asks another one, and changes what it is asked or what it answers.

    Conditions are handed on as they are, unless a subclass says otherwise. One that is a tensor, or a dataclass of
    tensors, has one row a clip.

    Args:
        denoiser: what is asked; itself wrapped, maybe.
    """

    def __init__(self, denoiser: DenoiserLike):
        self.denoiser = denoiser

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    @property
    def t_max(self) -> float:
        """The time to start from: the denoiser's."""
        return start_time(self.denoiser)

    def __call__(self, x_t: Tensor, t: Time, cond: Any = None) -> Tensor:
        """The changed E[x0 | x_t], (B, C, T).

        Args:
            x_t: (B, C, T) noisy signals.
            t: one time for all clips, a number, or (B,).
            cond: handed on as it is.

        Raises:
            ValueError: the condition is of another number of clips than x_t.
        """
        check_clips(cond, x_t)
        return self._answer(x_t, t, cond)

    def posterior(self, x_t: Tensor, t: float, s: float, cond: Any = None) -> tuple[Tensor, Tensor | None]:
        """Mean of x_s given x_t with the changed x0, and the denoiser's own log variance, as `Denoiser.posterior`.

        Costs one network call more than the answer alone. The log variance is None if the denoiser has none.
        """
        log_variance = None
        if hasattr(self.denoiser, "posterior"):
            _, log_variance = self.denoiser.posterior(x_t, t, s, cond)
        step = Posterior.between(self.schedule.level(t), self.schedule.level(s))
        return step.mean(x_t, self(x_t, t, cond)), log_variance

    def _estimate(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        """The denoiser's own E[x0 | x_t], like x_t."""
        return estimate(self.denoiser, x_t, t, cond)

    @abstractmethod
    def _answer(self, x_t: Tensor, t: Time, cond: Any) -> Tensor: ...
