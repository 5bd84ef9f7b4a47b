"""Ancestral sampling, and DDIM between it and the probability-flow ODE.

Ancestral sampling (DDPM) draws x_s from q(x_s | x_t, x0) with the estimate in x0's place (`variance`); DDIM keeps the
same marginals with any share eta of its noise. Both are chains over the times of the grid alone: any subset of a long
chain's times is a respaced chain with the same q(x_t) at each (Nichol and Dhariwal, "Improved Denoising Diffusion
Probabilistic Models", arXiv 2102.09672). Nothing divides by alpha_t or sigma_s: a grid may start at pure noise and end
at pure data.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.samplers.sampler import Callback, DenoiserLike, Noise, Sampler, gain_to_data, learned_posterior
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.schedule import Level, Schedule
from audiodiff.diffusion.variance import Posterior

VARIANCES = ("small", "large", "learned")


def snr_drop(start: Level, stop: Level) -> float:
    """r = 1 - SNR_t / SNR_s for a step from t to s; 1 where either end is pure."""
    return -math.expm1(start.log_snr - stop.log_snr)


def first_order_step(start: Level, stop: Level, noise: float = 0.0) -> Step:
    """x_s = alpha_s x0 + sqrt(sigma_s^2 - noise^2) (x_t - alpha_t x0) / sigma_t + noise z: what keeps the marginals.

    Every method of order 1 here is this step, and each differs in `noise` alone. Finite for any two levels but from
    sigma_t = 0.
    """
    carry = math.sqrt(stop.sigma**2 - noise**2) / start.sigma
    return Step(start.t, (carry,), (stop.alpha - carry * start.alpha,), noise=noise)


class Ancestral(Sampler):
    """DDPM: a sample of q(x_s | x_t, x0) with the estimate in x0's place.

    Ho et al., "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), algorithm 2, for any grid. As there,
    nothing is added in the step to t = 0.

    Args:
        nfe: number of network evaluations.
        variance: "small" is the posterior's (right where x0 is a point), "large" that of q(x_t | x_s) relative to
            `scale` (right where x0 is standard normal), "learned" that of the denoiser's `posterior`
            (arXiv 2102.09672).
        grid: (nfe + 1,) times; None: uniform t.

    Raises:
        ValueError: another variance, or as `Sampler`. In a call: a denoiser without learned variance, if
            it is needed.
    """

    def __init__(self, nfe: int, variance: str = "small", grid: Tensor | None = None):
        super().__init__(nfe, grid)
        if variance not in VARIANCES:
            raise ValueError(f"variance is one of {', '.join(VARIANCES)}, got {variance!r}")
        self.variance = variance

    @property
    def stochastic(self) -> bool:
        """Noise is added at every step but the last one to t = 0."""
        return True

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """Rows with the posterior's mean; its feature is x0.

        Raises:
            ValueError: the variance is learned, so that no table knows it.
        """
        if self.variance == "learned":
            raise ValueError("a learned variance has no table: call the sampler")
        levels = schedule.levels(grid)
        return [self._step(start, stop) for start, stop in itertools.pairwise(levels)]

    def _step(self, start: Level, stop: Level) -> Step:
        step = Posterior.between(start, stop)
        if self.variance == "small" or stop.t == 0:
            noise = math.exp(step.log_small / 2)
        else:
            noise = math.exp(step.log_large / 2)
            # Not 1 by rounding alone, where variance is preserved.
            if not math.isclose(stop.scale, start.scale, rel_tol=1e-12):
                noise *= stop.scale / start.scale
        return Step(start.t, (float(step.carry),), (float(step.gain),), noise=noise)

    def integrate(
        self, denoiser: DenoiserLike, x1: Tensor, cond: Any, noise: Noise | None, callback: Callback | None
    ) -> tuple[Tensor, Tensor]:
        """As `Sampler.integrate`."""
        if self.variance != "learned":
            return super().integrate(denoiser, x1, cond, noise, callback)
        x = x1 if x1.dtype == torch.float64 else x1.float()
        times = self.grid_for(denoiser).tolist()
        assert noise is not None  # as every stochastic sampler requires
        sums = []
        for n, (t, s) in enumerate(itertools.pairwise(times)):
            mean, log_variance = learned_posterior(denoiser, x, t, s, cond)
            x = gain_to_data(denoiser.schedule, 0.0) * mean if s == 0 else mean + torch.exp(log_variance / 2) * noise(n)
            sums.append(x.sum())
            if callback is not None:
                callback(n, self.nfe, x, mean)
        return x, torch.isfinite(torch.stack(sums))


class DDIM(Sampler):
    """DDIM, from the deterministic eta = 0 (order 1 of the multistep family) to eta = 1 (`Ancestral`, small).

    Song et al., "Denoising Diffusion Implicit Models" (arXiv 2010.02502), eq. 12 and 16.

    Args:
        nfe: number of network evaluations.
        eta: how much of the posterior's noise (its standard deviation) is added, in [0, 1].
        grid: (nfe + 1,) times; None: uniform t.

    Raises:
        ValueError: eta outside [0, 1], or as `Sampler`.
    """

    def __init__(self, nfe: int, eta: float = 0.0, grid: Tensor | None = None):
        super().__init__(nfe, grid)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta lies in [0, 1], got {eta}")
        self.eta = eta

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.eta > 0

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """Rows of `first_order_step` with eta times the posterior's standard deviation."""
        levels = schedule.levels(grid)
        return [self._step(start, stop) for start, stop in itertools.pairwise(levels)]

    def _step(self, start: Level, stop: Level) -> Step:
        noise = self.eta * stop.sigma * math.sqrt(snr_drop(start, stop)) if self.eta else 0.0
        return first_order_step(start, stop, noise)
