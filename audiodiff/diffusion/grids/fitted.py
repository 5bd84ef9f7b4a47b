"""Time grids fitted to a spectrum.

Where the data is Gaussian, x0 = sum_i sqrt(e_i) z_i over modes of variance e_i, the denoiser multiplies each mode of
x_t by alpha e_i / (alpha^2 e_i + sigma^2). A deterministic sampler, linear in the estimate, then multiplies
each mode of its start by a number g_i that follows from its table alone. The exact probability-flow ODE from time t to
time s multiplies it by

    h_i = sqrt((alpha_s^2 e_i + sigma_s^2) / (alpha_t^2 e_i + sigma_t^2)),

which from pure noise to data is sqrt(e_i). So the error of a sampler on a spectrum is a function of its grid in closed
form, and the grid can be fitted to the spectrum of data without a network (Benita, Elad and Keshet,
"Spectral Analysis of Diffusion Models with Application to Schedule Design", arXiv 2502.00180). Here it is

    error^2 = (1 - quiet) sum_i w_i (g_i - h_i)^2 / sum_i w_i h_i^2 + quiet sum_i w_i (g_i / h_i - 1)^2

with weights w_i that add up to 1. The share `quiet` gives weight to faint modes, which have little power but are
audible where nothing masks them.

Real data is no Gaussian, and a grid must not fit one mode by an accident of two times. So the intervals d_0 .. d_(N-1)
of the angle atan(sigma / alpha) are smooth: log d_n is a polynomial of n of degree DEGREE at most, whose coefficients
are the unknowns; neighbors differ by a factor of RATIO at most; and what is minimized is

    log error^2 + EVENNESS mean_n log^2(d_n / d_(n-1)).

The logarithm of a sum of squares is a loss function of `scipy.optimize.least_squares`, which takes steps of Levenberg
and Marquardt in a trust region. Derivatives are finite differences, and nothing is random.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from audiodiff.diffusion.samplers.sampler import Sampler, integrate
from audiodiff.diffusion.schedules.schedule import Schedule

QUIET = 0.1
DEGREE = 6
RATIO = 3.0
EVENNESS = 1.0
MODES = 64
# A millionth of the mean power, -60 dB: inaudible.
MIN_POWER = 1e-6
# The fit ends where an iteration gains less of what is minimized: a thousandth of the error.
GAIN_ENOUGH = 2e-3
# Added to what is minimized, above -log ROUNDING: `least_squares` stops at a share of a positive cost.
OFFSET = 100.0
ROUNDING = float(torch.finfo(torch.float64).eps)
NUDGE = ROUNDING ** (1 / 3)


class Spectrum:
    """The variances of a signal's modes.

    Args:
        variances: (M,) above 0.
        weights: (M,) how much each counts, not below 0; normalized by their sum. None: equal.

    Raises:
        ValueError: shapes that differ, values out of range or not finite, or no weight above 0.
    """

    def __init__(self, variances: Tensor, weights: Tensor | None = None):
        variances = torch.as_tensor(variances).cpu().double()
        weights = torch.ones_like(variances) if weights is None else torch.as_tensor(weights).to(variances)
        if variances.ndim != 1 or weights.shape != variances.shape:
            shapes = f"{tuple(variances.shape)} and {tuple(weights.shape)}"
            raise ValueError(f"a spectrum needs variances (M,) and as many weights, got {shapes}")
        if not bool((variances.isfinite() & (variances > 0)).all()):
            raise ValueError("a spectrum's variances must be finite and above 0")
        if not bool((weights.isfinite() & (weights >= 0)).all()) or not bool(weights.any()):
            raise ValueError("a spectrum's weights must be finite, not below 0, and not all 0")
        self.variances, self.weights = variances, weights / weights.sum()

    @classmethod
    def of_powers(cls, powers: Tensor, modes: int = MODES) -> "Spectrum":
        """The spectrum of measured powers of any shape: sorted, and averaged in `modes` groups of equal size.

        That keeps their total and their spread, which a mean over time would hide. Powers below MIN_POWER times their
        mean, as in silence, count as that.

        Raises:
            ValueError: no powers, powers that are below 0, not finite or all 0, or fewer than one mode.
        """
        powers = powers.flatten().cpu().double()
        if not bool((powers.isfinite() & (powers >= 0)).all()) or not bool(powers.any()):
            raise ValueError("a spectrum needs powers that are finite, not below 0, and not all 0")
        if modes < 1:
            raise ValueError(f"a spectrum needs at least one mode, got {modes}")
        audible = powers.clamp(min=MIN_POWER * float(powers.mean()))
        groups = audible.sort().values.tensor_split(min(modes, len(audible)))
        return cls(torch.stack([group.mean() for group in groups]), torch.tensor([len(group) for group in groups]))


def gain(sampler: Sampler, schedule: Schedule, grid: Tensor, variances: Tensor) -> Tensor:
    """The factor by which a sampler multiplies each mode of its start.

    Args:
        sampler: deterministic.
        schedule: signal and noise at t.
        grid: (intervals + 1,) falling times.
        variances: (M,) of the modes, float64.

    Returns:
        (M,) float64.

    Raises:
        ValueError: a stochastic sampler.
    """
    if sampler.stochastic:
        raise ValueError("only a deterministic sampler has a gain: choose one without noise")
    table = sampler.steps(schedule, grid)
    times = torch.tensor([step.t for step in table], dtype=torch.float64)
    levels = dict(zip(times.tolist(), schedule.levels(times), strict=True))

    def denoiser(x: Tensor, t: float, _: None) -> Tensor:
        level = levels[t]
        return level.alpha * variances / (level.alpha**2 * variances + level.sigma**2) * x

    return integrate(table, denoiser, torch.ones_like(variances))[0]


def exact_gain(schedule: Schedule, grid: Tensor, variances: Tensor) -> Tensor:
    """The factor of each mode (M,) by the probability-flow ODE, from the grid's first time to its last: (M,)."""
    start, stop = schedule.levels(grid[[0, -1]])
    return ((stop.alpha**2 * variances + stop.sigma**2) / (start.alpha**2 * variances + start.sigma**2)).sqrt()


def error(sampler: Sampler, schedule: Schedule, grid: Tensor, spectrum: Spectrum, quiet: float = QUIET) -> float:
    """The error of a sampler on a grid (intervals + 1,), as defined above. Raises as `gain`."""
    return float(_residuals(sampler, schedule, grid, spectrum, quiet).square().sum().sqrt())


@torch.no_grad()
def fit_grid(
    sampler: Sampler, schedule: Schedule, spectrum: Spectrum, t_max: float | None = None, quiet: float = QUIET
) -> Tensor:
    """The grid on which a sampler is most accurate for a spectrum. Takes seconds, also at 50 steps.

    Args:
        sampler: deterministic. The fit starts from its own grid, or else from its default one.
        schedule: signal and noise at t.
        spectrum: of the data, in the domain that is diffused.
        t_max: where the default grid starts; None: the schedule's.
        quiet: share of the relative error, in [0, 1].

    Returns:
        (intervals + 1,) times, float64, with the ends of the grid that the fit starts from and never a larger error.

    Raises:
        ValueError: as `gain`, or quiet outside [0, 1].
    """
    if not 0 <= quiet <= 1:
        raise ValueError(f"quiet must lie in [0, 1], got {quiet}")
    t_max = schedule.t_max if t_max is None else t_max
    start = sampler.default_grid(schedule, t_max) if sampler.grid is None else sampler.grid
    if len(start) == 2:
        return start
    problem = _Problem(sampler, schedule, spectrum, quiet, start)
    found = problem.grid(problem.solve())
    return min(start, found, key=lambda grid: error(sampler, schedule, grid, spectrum, quiet))


@dataclass
class _Problem:
    """The objective of the fit, a function of the coefficients (K,) of the logarithm of the intervals (N,)."""

    sampler: Sampler
    schedule: Schedule
    spectrum: Spectrum
    quiet: float
    start: Tensor

    @cached_property
    def angles(self) -> Tensor:
        """atan(sigma / alpha) on the grid that the fit starts from, (N + 1,)."""
        levels = self.schedule.levels(self.start)
        return torch.tensor([math.atan2(level.sigma, level.alpha) for level in levels], dtype=torch.float64)

    @cached_property
    def basis(self) -> Tensor:
        """(N, K) polynomials of degree 1 to K, orthogonal to each other and to constants, of mean square 1."""
        count = len(self.start) - 1
        places = torch.arange(count, dtype=torch.float64) / count
        powers = places[:, None] ** torch.arange(min(DEGREE + 1, count))
        return torch.linalg.qr(powers).Q[:, 1:] * math.sqrt(count)

    @cached_property
    def slopes(self) -> Tensor:
        """(N - 1, K): the matrix from the coefficients to the log ratios of neighboring intervals."""
        return self.basis.diff(dim=0)

    def first(self) -> Tensor:
        """The coefficients nearest to the grid that the fit starts from; halfway to even ones until RATIO holds."""
        coefficients = self.basis.T @ (-self.angles.diff()).log() / len(self.basis)
        while self.uneven(coefficients):
            coefficients = coefficients / 2
        return coefficients

    def uneven(self, coefficients: Tensor) -> bool:
        """Whether neighboring intervals differ by more than RATIO."""
        return float((self.slopes @ coefficients).abs().max()) > math.log(RATIO)

    def grid(self, coefficients: Tensor) -> Tensor:
        """(N + 1,) times with such intervals, and the ends of the grid that the fit starts from."""
        shares = torch.softmax(self.basis @ coefficients, 0)
        # Summed from the last interval on: a small angle is a sum of small ones.
        inner = self.angles[-1] + (self.angles[0] - self.angles[-1]) * shares.flip(0).cumsum(0).flip(0)[1:]
        times = self.schedule.t_from_log_snr(-2 * torch.log(torch.tan(inner)))
        return torch.cat([self.start[:1], times, self.start[-1:]])

    def residuals(self, coefficients: Tensor) -> Tensor:
        """(M + N - 1,): those whose sum of squares is the error's square, then those of the evenness."""
        errors = _residuals(self.sampler, self.schedule, self.grid(coefficients), self.spectrum, self.quiet)
        return torch.cat([errors, math.sqrt(EVENNESS / len(self.slopes)) * (self.slopes @ coefficients)])

    def jacobian(self, coefficients: Tensor) -> Tensor:
        """(M + N - 1, K) by finite differences."""
        nudges = NUDGE * torch.eye(len(coefficients), dtype=torch.float64)
        residuals = self.residuals(coefficients)
        return torch.stack([(self.residuals(coefficients + nudge) - residuals) / NUDGE for nudge in nudges], 1)

    def loss(self, squares: np.ndarray) -> np.ndarray:
        """(3, M + N - 1): the loss of squared residuals and its derivatives, as `least_squares` takes them.

        Its sum is what is minimized. Many grids can be exact for a single mode; none may count for infinitely much.
        """
        modes = len(self.spectrum.variances)
        error = squares[:modes].sum() + ROUNDING
        loss = np.stack([squares, np.ones_like(squares), np.zeros_like(squares)])
        loss[:2, :modes] = [[(math.log(error) + OFFSET) / modes], [1 / error]]
        return loss

    def solve(self) -> Tensor:
        """The coefficients from which no iteration gains much."""
        from scipy.optimize import least_squares

        first = self.first()

        def residuals(change: np.ndarray) -> np.ndarray:
            coefficients = first + torch.from_numpy(change)
            residuals = self.residuals(coefficients).numpy()
            return np.full_like(residuals, math.inf) if self.uneven(coefficients) else residuals

        def jacobian(change: np.ndarray) -> np.ndarray:
            return self.jacobian(first + torch.from_numpy(change)).numpy()

        start = np.zeros(len(first))
        found = least_squares(residuals, start, jacobian, loss=self.loss, ftol=GAIN_ENOUGH / OFFSET)
        return first + torch.from_numpy(found.x)


def _residuals(sampler: Sampler, schedule: Schedule, grid: Tensor, spectrum: Spectrum, quiet: float) -> Tensor:
    exact = exact_gain(schedule, grid, spectrum.variances)
    power = (spectrum.weights * exact.square()).sum()
    factor = (spectrum.weights * ((1 - quiet) / power + quiet / exact.square())).sqrt()
    return factor * (gain(sampler, schedule, grid, spectrum.variances) - exact)
