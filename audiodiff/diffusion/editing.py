"""Editing: sampling that keeps parts of a signal, or starts from one. Denoisers around denoisers.

- `Inpainting` replaces the estimate by the known signal where the mask is 1, so that the probability-flow ODE ends
  there (the replacement method of Song et al. 2021, section 5, arXiv 2011.13456). That alone couples the rest too
  weakly, since it is denoised before the known part has emerged from its noise. So the estimate of the rest is moved
  along the gradient of log p(known | x_t), a normal density about the estimate with the variance that standard normal
  data would have (Song et al. 2023, Pseudoinverse-Guided Diffusion Models), by at most that standard deviation.
- `SDEdit` starts at a time below t_max from a signal with noise added; the less noise, the closer the result (Meng et
  al. 2022, arXiv 2108.01073).
"""

from typing import Any

from torch import Tensor

from audiodiff.diffusion.guidance.gradient import amplitudes, gradient, recordable, regular_t_max
from audiodiff.diffusion.samplers.sampler import DenoiserLike, start_time
from audiodiff.diffusion.wrapper import Time, Wrapper


class Inpainting(Wrapper):
    """Inpainting: sample the unknown part of a signal given the known one.

    Args:
        denoiser: the model of the signals.
        known: (B, C, T) clean signals; finite where unknown.
        mask: broadcasts against `known`: 1 where known, 0 where unknown, between for a fade.
        weight: of the gradient; 0 leaves it out and costs no backward pass. 1 is the formula, exact for white data; on
            correlated data it counts the same evidence several times, and 0.5 is closer.
    """

    def __init__(self, denoiser: DenoiserLike, known: Tensor, mask: Tensor, weight: float = 0.5):
        super().__init__(denoiser)
        self.known, self.mask, self.weight = known, mask, weight

    @property
    def t_max(self) -> float:
        """The denoiser's; with a gradient log_snr is -10 there at the lowest."""
        return regular_t_max(self.denoiser) if self.weight else super().t_max

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        known, mask = recordable(self.known), recordable(self.mask)
        if not self.weight:
            x0_hat = self._estimate(x_t, t, cond)
            return x0_hat + mask * (known - x0_hat)

        def agreement(x: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
            x0_hat = self._estimate(x, t, cond)
            return -0.5 * (mask * (known - x0_hat)).square().flatten(1).sum(1), x0_hat

        slope, x0_hat = gradient(agreement, x_t, cond)
        alpha, sigma = amplitudes(self.schedule, t, x_t)
        # sigma^2 / alpha of Tweedie's formula, and the variance sigma^2 / (alpha^2 + sigma^2) of the estimate.
        unknown = (1 - mask.to(x0_hat)).expand_as(x0_hat)
        pull = unknown * self.weight * (alpha**2 + sigma**2) / alpha * slope
        # At most the estimate's standard deviation: on strongly correlated data the gradient adds up to more, and
        # would diverge over the steps.
        most = sigma / (alpha**2 + sigma**2) ** 0.5
        size = (pull.square().sum((1, 2), True) / unknown.square().sum((1, 2), True).clamp(min=1e-12)).sqrt()
        pull = pull * (most / size.clamp(min=1e-12)).clamp(max=1)
        return x0_hat + pull + mask * (known - x0_hat)


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

    def add_noise(self, x0: Tensor, noise: Tensor) -> Tensor:
        """The state at `t_max` of clean signals and standard normal noise, (B, C, T)."""
        level = self.schedule.level(self._t_max)
        return level.alpha * x0 + level.sigma * noise

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return self._estimate(x_t, t, cond)
