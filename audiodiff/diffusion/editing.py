"""Editing: sampling that keeps a part of what is given, or begins near it. Denoisers around denoisers.

- `Inpainting` answers what is known where it is known: there the probability-flow ODE leads from its noise straight to
  the known x0 (the replacement method of Song et al. 2021, section 5, arXiv 2011.13456). That alone makes the rest fit
  too little, since the rest is denoised before what is known is plain; a gradient makes up for it, of the
  log-probability of what is known given x_t, which is taken to be normal about the estimate with the variance that
  standard normal data would have (Song et al. 2023, Pseudoinverse-Guided Diffusion Models). It moves what is unknown by
  no more than that deviation.
- `SDEdit` begins at a time before t_max, where a given signal has noise added: the less, the more of it is kept
  (SDEdit, Meng et al. 2022, arXiv 2108.01073).
"""

from typing import Any

from torch import Tensor

from audiodiff.diffusion.guidance.gradient import amplitudes, gradient, recordable, regular_t_max
from audiodiff.diffusion.samplers.sampler import DenoiserLike, start_time
from audiodiff.diffusion.wrapper import Time, Wrapper


class Inpainting(Wrapper):
    """Keeps what is known.

    Args:
        denoiser: makes the rest.
        known: (B, C, T) clean signals; what is not known may be anything finite.
        mask: broadcasts against them: 1 where they are known, 0 where they are not, between for a fade.
        weight: of the gradient that makes the rest fit; 0 leaves it out and costs no backward pass. 1 is the formula,
            exact for white data; where neighbors are alike it says the same thing several times, and half is nearer.
    """

    def __init__(self, denoiser: DenoiserLike, known: Tensor, mask: Tensor, weight: float = 0.5):
        super().__init__(denoiser)
        self.known, self.mask, self.weight = known, mask, weight

    @property
    def t_max(self) -> float:
        """The denoiser's; with a gradient log_snr is -10 there at the lowest."""
        return regular_t_max(self.denoiser) if self.weight else super().t_max

    def _answer(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        known, mask = recordable(self.known), recordable(self.mask)
        if not self.weight:
            made = self._estimate(x_t, t, cond)
            return made + mask * (known - made)

        def agreement(x: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
            made = self._estimate(x, t, cond)
            return -0.5 * (mask * (known - made)).square().flatten(1).sum(1), made

        slope, made = gradient(agreement, x_t, cond)
        alpha, sigma = amplitudes(self.schedule, t, x_t)
        # sigma^2 / alpha of Tweedie's formula, and the variance sigma^2 / (alpha^2 + sigma^2) of the estimate.
        unknown = (1 - mask.to(made)).expand_as(made)
        pull = unknown * self.weight * (alpha**2 + sigma**2) / alpha * slope
        # What is unknown lies within the estimate's deviation. Where neighbors are much alike the pull says the same
        # so often that it would lead beyond, and at the next step further.
        most = sigma / (alpha**2 + sigma**2) ** 0.5
        size = (pull.square().sum((1, 2), True) / unknown.square().sum((1, 2), True).clamp(min=1e-12)).sqrt()
        pull = pull * (most / size.clamp(min=1e-12)).clamp(max=1)
        return made + pull + mask * (known - made)


class SDEdit(Wrapper):
    """Starts late.

    Args:
        denoiser: whose process is entered.
        t_max: the time to start from, above 0 and at most the denoiser's.

    Raises:
        ValueError: another time.
    """

    def __init__(self, denoiser: DenoiserLike, t_max: float):
        super().__init__(denoiser)
        if not 0 < t_max <= start_time(denoiser):
            raise ValueError(f"a start lies above 0 and at most at {start_time(denoiser):.6g}, got {t_max:.6g}")
        self._t_max = t_max

    @property
    def t_max(self) -> float:
        """The time to start from."""
        return self._t_max

    def add_noise(self, x0: Tensor, noise: Tensor) -> Tensor:
        """The state at that time, of clean signals and standard normal noise (B, C, T)."""
        level = self.schedule.level(self._t_max)
        return level.alpha * x0 + level.sigma * noise

    def _answer(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        return self._estimate(x_t, t, cond)
