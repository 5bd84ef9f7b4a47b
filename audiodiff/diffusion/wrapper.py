"""Denoisers around denoisers. Guidance, editing and windowing are not options of a sampler but denoisers."""

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
    """A denoiser that modifies the input or the estimate of another one.

    Conditions are passed on unchanged, unless a subclass says otherwise. One that is a tensor, or a dataclass of
    tensors, has one row for each clip.

    Args:
        denoiser: the wrapped denoiser; may itself be a wrapper.
    """

    def __init__(self, denoiser: DenoiserLike):
        self.denoiser = denoiser

    @property
    def schedule(self) -> Schedule:
        """The wrapped denoiser's."""
        return self.denoiser.schedule

    @property
    def t_max(self) -> float:
        """The time to start from: the denoiser's."""
        return start_time(self.denoiser)

    def __call__(self, x_t: Tensor, t: Time, cond: Any = None) -> Tensor:
        """The modified estimate of E[x0 | x_t], (B, C, T).

        Args:
            x_t: (B, C, T) noisy signals.
            t: one time for all clips, or (B,).
            cond: passed on unchanged.

        Raises:
            ValueError: the condition has another number of clips than x_t.
        """
        check_clips(cond, x_t)
        return self._modified(x_t, t, cond)

    def posterior(self, x_t: Tensor, t: float, s: float, cond: Any = None) -> tuple[Tensor, Tensor | None]:
        """Mean of x_s given x_t at the modified estimate, and the denoiser's log variance, as `Denoiser.posterior`.

        Costs one network evaluation more than the estimate alone. The log variance is None if the denoiser has none.
        """
        log_variance = None
        if hasattr(self.denoiser, "posterior"):
            _, log_variance = self.denoiser.posterior(x_t, t, s, cond)
        step = Posterior.between(self.schedule.level(t), self.schedule.level(s))
        return step.mean(x_t, self(x_t, t, cond)), log_variance

    def _estimate(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        """The wrapped denoiser's E[x0 | x_t], like x_t."""
        return estimate(self.denoiser, x_t, t, cond)

    @abstractmethod
    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor: ...
