"""The loop from noise to data, and ancestral sampling.

Every fixed-grid sampler here is linear in what the network says: with x_n the state at grid time n and f_n = p_n x_n +
q_n E[x0 | x_n] its feature (the estimated x0, noise or v),

    x_(n+1) = carry_n x_n + sum_j weights_(n, j) f_(n-j) + noise_n z_n.

A sampler is therefore a table of such `Step`s, computed once a call from the grid alone, in float64, and one loop walks
them all. The loop holds no branch on tensor values and no number of it comes from a device, so it can be captured in a
CUDA graph (`Sampler.walk`).

Ancestral sampling and DDIM are of order 1: their feature is x0 itself. With s < t two times of the grid and
r = 1 - SNR_t / SNR_s, the posterior q(x_s | x_t, x0) is Gaussian with

    mean = (alpha_t sigma_s^2) / (alpha_s sigma_t^2) x_t + alpha_s r x0,   variance = sigma_s^2 r.

Nothing divides by alpha_t or sigma_s: a grid may start at pure noise and end at pure data.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from audiodiff.diffusion import grid as grids
from audiodiff.diffusion.schedule import Schedule


class HasPosteriorMean(Protocol):
    """What a sampler asks of a denoiser: a `Denoiser`, an oracle, or a wrapper around either."""

    schedule: Schedule
    t_max: float

    def __call__(self, x_t: Tensor, t: float, cond: Any = None) -> Tensor:
        """E[x0 | x_t]."""


class Levels(NamedTuple):
    """The schedule at the grid's times, as float64 numbers."""

    t: list[float]
    alpha: list[float]
    sigma: list[float]
    log_snr: list[float]

    @classmethod
    def of(cls, schedule: Schedule, grid: Tensor) -> "Levels":
        """The levels of a checked grid."""
        functions = (schedule.alpha, schedule.sigma, schedule.log_snr)
        return cls(grid.tolist(), *(function(grid).tolist() for function in functions))


class Step(NamedTuple):
    """One row of a sampler's table; see the module's docstring for the letters."""

    t: float
    carry: float
    weights: tuple[float, ...]
    feature: tuple[float, float] = (0.0, 1.0)
    noise: float = 0.0


class Sampler(ABC):
    """A walk along a fixed grid of times.

    Args:
        nfe: number of network calls, >= 1.
        grid: (nfe + 1,) strictly falling times in [0, 1]; None: `default_grid`.

    Raises:
        ValueError: nfe < 1, a grid that is not strictly falling, or of another length than nfe + 1.
    """

    def __init__(self, nfe: int, grid: Tensor | None = None):
        if nfe < 1:
            raise ValueError(f"a sampler needs at least one network call, got nfe = {nfe}")
        if grid is not None:
            grid = grids.check(grid)
            if len(grid) != nfe + 1:
                raise ValueError(f"{nfe} network calls need a grid of {nfe + 1} times, got {len(grid)}")
        self.nfe = nfe
        self.grid = grid

    @property
    def stochastic(self) -> bool:
        """Whether noise is added on the way, so that a call needs `noise`."""
        return False

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """The grid for a denoiser that starts at t_max: uniform t, down to 0."""
        return grids.uniform_t(schedule, self.nfe, t_max)

    @abstractmethod
    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """The table of this sampler on a checked grid (nfe + 1,)."""

    def __call__(
        self,
        denoiser: HasPosteriorMean,
        x1: Tensor,
        cond: Any = None,
        noise: Callable[[int], Tensor] | None = None,
        callback: Callable[[int, int, Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """From x1 at the grid's first time to its last. Gradients flow if they are enabled.

        Args:
            denoiser: answers E[x0 | x_t]; asked with t as a number.
            x1: (B, C, T) standard normal.
            cond: handed to the denoiser as it is.
            noise: step -> standard normal like x1 (`noise.step_noise`); only stochastic samplers ask.
            callback: called after each step with (step from 0, nfe, x, E[x0 | x] before the step).

        Returns:
            (B, C, T) in float64 if x1 is, else float32: the dtype of the state all along.

        Raises:
            ValueError: no noise for a stochastic sampler, a grid that starts above the denoiser's t_max, or a state
                that is not finite (the message names the first such step).
        """
        x, finite = self.walk(denoiser, x1, cond, noise, callback)
        broken = (~finite).nonzero().flatten().tolist()
        if broken:
            raise ValueError(
                f"not finite after step {broken[0] + 1} of {self.nfe}: the network answered NaN or infinity"
            )
        return x

    def walk(
        self,
        denoiser: HasPosteriorMean,
        x1: Tensor,
        cond: Any = None,
        noise: Callable[[int], Tensor] | None = None,
        callback: Callable[[int, int, Tensor, Tensor], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The call without its last check: (x0, (nfe,) whether the state was finite after each step).

        This is what a CUDA graph captures, with noise drawn beforehand and no callback.
        """
        if self.stochastic and noise is None:
            raise ValueError(f"{type(self).__name__} adds noise at every step: give it noise, a function of the step")
        x = x1 if x1.dtype == torch.float64 else x1.float()
        features: list[Tensor] = []
        finite = []
        for n, step in enumerate(self._table(denoiser)):
            x0_hat = denoiser(x, step.t, cond)
            features = [_combine(step.feature, (x, x0_hat)), *features[: len(step.weights)]]
            x = _combine((step.carry, *step.weights), (x, *features))
            if step.noise:
                x = x + step.noise * noise(n)
            finite.append(torch.isfinite(x).all())
            if callback is not None:
                callback(n, self.nfe, x, x0_hat)
        return x, torch.stack(finite)

    def _table(self, denoiser: HasPosteriorMean) -> list[Step]:
        if self.grid is None:
            return self.steps(denoiser.schedule, self.default_grid(denoiser.schedule, denoiser.t_max))
        if float(self.grid[0]) > denoiser.t_max:
            raise ValueError(f"the grid starts at {float(self.grid[0]):.6g}, the denoiser at {denoiser.t_max:.6g}")
        return self.steps(denoiser.schedule, self.grid)


def _combine(factors: tuple[float, ...], tensors: tuple[Tensor, ...]) -> Tensor:
    """The linear combination; terms with factor 0 are left out (the factors are numbers of the grid)."""
    terms = [factor * tensor for factor, tensor in zip(factors, tensors, strict=False) if factor]
    return sum(terms[1:], terms[0])


def snr_drop(levels: Levels, n: int) -> float:
    """r = 1 - SNR_t / SNR_s for step n from t to s; 1 where either end is pure."""
    return -math.expm1(levels.log_snr[n] - levels.log_snr[n + 1])


def ddim_step(levels: Levels, n: int, eta: float = 0.0) -> Step:
    """Step n of DDIM: x_s = alpha_s x0 + sqrt(sigma_s^2 - noise^2) (x_t - alpha_t x0) / sigma_t + noise z."""
    (alpha_t, alpha_s), (sigma_t, sigma_s) = levels.alpha[n : n + 2], levels.sigma[n : n + 2]
    noise = eta * sigma_s * math.sqrt(snr_drop(levels, n))
    carry = math.sqrt(sigma_s**2 - noise**2) / sigma_t
    return Step(levels.t[n], carry, (alpha_s - carry * alpha_t,), noise=noise)


class Ancestral(Sampler):
    """DDPM: a sample of q(x_s | x_t, x0) with the estimate in x0's place.

    Ho et al., "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), algorithm 2, for any grid. As there,
    nothing is added in the step to t = 0.

    Args:
        nfe: number of network calls.
        variance: "small" is the posterior's (right where x0 is a point), "large" that of q(x_t | x_s) (right where x0
            is standard normal).
        grid: (nfe + 1,) times; None: uniform t.

    Raises:
        ValueError: another variance, or as `Sampler`.
    """

    def __init__(self, nfe: int, variance: str = "small", grid: Tensor | None = None):
        super().__init__(nfe, grid)
        if variance not in ("small", "large"):
            raise ValueError(f"variance is small or large, got {variance!r}")
        self.variance = variance

    @property
    def stochastic(self) -> bool:
        """Noise is added at every step but the last one to t = 0."""
        return True

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """Rows with the posterior's mean; its feature is x0."""
        levels = Levels.of(schedule, grid)
        return [self._step(levels, n) for n in range(self.nfe)]

    def _step(self, levels: Levels, n: int) -> Step:
        (alpha_t, alpha_s), (sigma_t, sigma_s) = levels.alpha[n : n + 2], levels.sigma[n : n + 2]
        drop = snr_drop(levels, n)
        carry = alpha_t * sigma_s**2 / (alpha_s * sigma_t**2)
        spread = sigma_s if self.variance == "small" or sigma_s == 0 else sigma_t
        return Step(levels.t[n], carry, (alpha_s * drop,), noise=spread * math.sqrt(drop))


class DDIM(Sampler):
    """DDIM, from the deterministic eta = 0 (order 1 of the multistep family) to eta = 1 (`Ancestral`, small).

    Song et al., "Denoising Diffusion Implicit Models" (arXiv 2010.02502), eq. 12 and 16.

    Args:
        nfe: number of network calls.
        eta: how much of the posterior's noise is added, in [0, 1].
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
        """Rows of `ddim_step`."""
        levels = Levels.of(schedule, grid)
        return [ddim_step(levels, n, self.eta) for n in range(self.nfe)]
