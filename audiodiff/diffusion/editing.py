"""Editing: sampling that keeps parts of a signal, or starts from one. Denoisers around denoisers.

- `Inpainting` replaces the known part of the estimate by that of the known signal, so that the probability-flow ODE
  ends there (the replacement method of Song et al. 2021, section 5, arXiv 2011.13456). The known part is what a linear
  projection P keeps: x0 becomes x0 + P (known - x0). P may be a mask of positions, or a mask in another domain, such as
  T^-1 mask T of a transform T (`Projection`). Replacement alone couples the rest too weakly, since it is denoised
  before the known part has emerged from its noise. So the estimate of the rest is moved along the gradient of
  log p(known | x_t), a normal density about the estimate with the variance that standard normal data would have (Song
  et al. 2023, Pseudoinverse-Guided Diffusion Models), by at most that standard deviation.
- `SDEdit` starts at a time below t_max from a signal with noise added; the less noise, the closer the result (Meng et
  al. 2022, arXiv 2108.01073).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from audiodiff.diffusion.guidance.gradient import amplitudes, gradient, recordable, regular_t_max
from audiodiff.diffusion.samplers.sampler import DenoiserLike, prepared_condition, start_time
from audiodiff.diffusion.wrapper import Time, Wrapper


@dataclass(frozen=True)
class Projection:
    """A linear projection onto the known part of signals.

    Attributes:
        known_part: (B, C, T) -> (B, C, T), linear, idempotent and differentiable.
        unknown: dimensions of a clip that it drops, C T minus its rank.
    """

    known_part: Callable[[Tensor], Tensor]
    unknown: int

    def __call__(self, signal: Tensor) -> Tensor:
        """The known part of signals (B, C, T)."""
        return self.known_part(signal)


class Inpainting(Wrapper):
    """Inpainting: sample the unknown part of a signal given the known one.

    Args:
        denoiser: the model of the signals.
        known: (B, C, T) clean signals; finite where unknown.
        mask: what is known. A tensor broadcasts against `known`: 1 where known, 0 where unknown, between for a fade.
            A `Projection` keeps what is known.
        weight: of the gradient; 0 leaves it out and costs no backward pass. 1 is the formula, exact for white data; on
            correlated data it counts the same evidence several times, and 0.5 is closer.
    """

    def __init__(self, denoiser: DenoiserLike, known: Tensor, mask: Tensor | Projection, weight: float = 0.5):
        super().__init__(denoiser)
        self.known, self.mask, self.weight = known, mask, weight

    @property
    def t_max(self) -> float:
        """The denoiser's; with a gradient log_snr is -10 there at the lowest."""
        return regular_t_max(self.denoiser) if self.weight else super().t_max

    def _known_part(self, signal: Tensor) -> Tensor:
        return self.mask(signal) if isinstance(self.mask, Projection) else recordable(self.mask) * signal

    def _unknown(self, like: Tensor) -> Tensor | float:
        """Unknown dimensions of each clip, at least 1: a number, or (B, 1, 1)."""
        if isinstance(self.mask, Projection):
            return max(self.mask.unknown, 1)
        return (1 - self.mask.to(like)).expand_as(like).square().sum((1, 2), True).clamp(min=1)

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        known = recordable(self.known)
        if not self.weight:
            x0_hat = self._estimate(x_t, t, cond)
            return x0_hat + self._known_part(known - x0_hat)

        def agreement(x: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
            x0_hat = self._estimate(x, t, cond)
            return -0.5 * self._known_part(known - x0_hat).square().flatten(1).sum(1), x0_hat

        slope, x0_hat = gradient(agreement, x_t, cond)
        alpha, sigma = amplitudes(self.schedule, t, x_t)
        # sigma^2 / alpha of Tweedie's formula, and the variance sigma^2 / (alpha^2 + sigma^2) of the estimate.
        pull = self.weight * (alpha**2 + sigma**2) / alpha * slope
        pull = pull - self._known_part(pull)
        # At most the estimate's standard deviation: on strongly correlated data the gradient adds up to more, and
        # would diverge over the steps.
        most = sigma / (alpha**2 + sigma**2) ** 0.5
        size = (pull.square().sum((1, 2), True) / self._unknown(pull)).sqrt()
        pull = pull * (most / size.clamp(min=1e-12)).clamp(max=1)
        return x0_hat + pull + self._known_part(known - x0_hat)


class SDEdit(Wrapper):
    """SDEdit: start from a noisy signal at a time below the denoiser's start.

    Args:
        denoiser: the model of the signals.
        t_max: the time to start from, above 0 and at most the denoiser's.

    Raises:
        ValueError: t_max out of range.
    """

    def __init__(self, denoiser: DenoiserLike, t_max: float):
        super().__init__(denoiser)
        if not 0 < t_max <= start_time(denoiser):
            raise ValueError(f"t_max must lie above 0 and at most at {start_time(denoiser):.6g}, got {t_max:.6g}")
        self._t_max = t_max

    @property
    def t_max(self) -> float:
        """The time to start from."""
        return self._t_max

    def prepare(self, cond: Any, x_t: Tensor) -> Any:
        """What the denoiser derives from a condition alone; see `prepared_condition`."""
        return prepared_condition(self.denoiser, cond, x_t)

    def add_noise(self, x0: Tensor, noise: Tensor) -> Tensor:
        """The state at `t_max` of clean signals and standard normal noise, (B, C, T)."""
        level = self.schedule.level(self._t_max)
        return level.alpha * x0 + level.sigma * noise

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return self._estimate(x_t, t, cond)
