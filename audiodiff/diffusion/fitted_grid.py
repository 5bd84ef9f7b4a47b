"""Time grids fitted to a spectrum.

Where the data is Gaussian, x0 = sum_i sqrt(e_i) z_i over modes of variance e_i, the denoiser multiplies each mode of
x_t by alpha e_i / (alpha^2 e_i + sigma^2). A deterministic sampler, linear in what the denoiser says, then multiplies
each mode of its start by a number g_i that follows from its table alone, and the exact probability-flow ODE from time t
to time s by

    h_i = sqrt((alpha_s^2 e_i + sigma_s^2) / (alpha_t^2 e_i + sigma_t^2)),

which from pure noise to data is sqrt(e_i). So the error of a sampler on a spectrum is a function of its grid in closed
form, and the grid can be fitted to the spectrum before any network is called (Benita, Elad and Keshet, "Spectral
Analysis of Diffusion Models with Application to Schedule Design", arXiv 2502.00180). What is minimised here is

    log error^2 + EVENNESS mean_n log^2(d_(n+1) / d_n),
    error^2 = (1 - quiet) sum_i w_i (g_i - h_i)^2 / sum_i w_i h_i^2 + quiet sum_i w_i (g_i / h_i - 1)^2

with weights w_i that add up to 1 and d_n the grid's intervals in the angle atan(sigma / alpha). The share `quiet` is
what makes faint modes count: they hold no power, but are heard where nothing masks them. The second term of the sum
keeps neighbouring intervals alike: without it two times may all but coincide, which serves this spectrum and no other.

The unknowns are the log ratios of neighbouring intervals, so that any values make a falling grid with the ends that it
started with, and none may go beyond RATIO. As log E^2 <= log E_k^2 + E^2 / E_k^2 - 1, a step that lowers the sum of
squares E^2 / E_k^2 lowers the logarithm, too: each iteration is a Levenberg-Marquardt step of the sum of squares that
stands at the present error E_k. Slopes are differences. Nothing is drawn at random.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from audiodiff.diffusion import grid as grids
from audiodiff.diffusion.sampler import Sampler, walk
from audiodiff.diffusion.schedule import Schedule

QUIET = 0.1
EVENNESS = 0.3
RATIO = 3.0
ITERATIONS = 60
ENOUGH = 1e-3
NUDGE = 1e-6
MODES = 64
FAINTEST = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """The variances of a signal's modes, with data of mean variance about 1 in mind.

    Args:
        variances: (M,) above 0.
        weights: (M,) how much each counts, not negative; they are scaled to a sum of 1. None: all alike.

    Raises:
        ValueError: shapes that differ, or values that cannot be.
    """

    variances: Tensor
    weights: Tensor | None = None

    def __post_init__(self):
        """Check, and hold both in float64 on the CPU."""
        variances = torch.as_tensor(self.variances).to("cpu", torch.float64)
        weights = torch.ones_like(variances) if self.weights is None else torch.as_tensor(self.weights)
        weights = weights.to("cpu", torch.float64)
        if variances.ndim != 1 or weights.shape != variances.shape:
            shapes = f"{tuple(variances.shape)} and {tuple(weights.shape)}"
            raise ValueError(f"a spectrum needs variances (M,) and as many weights, got {shapes}")
        if not bool(((variances > 0) & variances.isfinite() & (weights >= 0) & weights.isfinite()).all()):
            raise ValueError("a spectrum's variances must be finite and above 0, its weights finite and not below 0")
        if not weights.sum() > 0:
            raise ValueError("a spectrum needs at least one mode with a weight above 0")
        object.__setattr__(self, "variances", variances)
        object.__setattr__(self, "weights", weights / weights.sum())

    @classmethod
    def of_powers(cls, powers: Tensor, modes: int = MODES) -> "Spectrum":
        """The spectrum of measured powers (any shape), sorted and averaged in `modes` groups of equal size.

        Their total is kept, and so is their spread, which a mean over time would hide. Powers fainter than FAINTEST
        times their mean (silence, above all) count as that.

        Raises:
            ValueError: no powers, or powers that are negative, not finite, or all 0.
        """
        powers = powers.flatten().double().cpu()
        if not len(powers) or not bool((powers >= 0).all() and powers.isfinite().all() and powers.any()):
            raise ValueError("a spectrum needs powers that are finite, not below 0, and not all 0")
        groups = powers.clamp(min=FAINTEST * float(powers.mean())).sort().values.tensor_split(min(modes, len(powers)))
        return cls(torch.stack([group.mean() for group in groups]), torch.tensor([float(len(g)) for g in groups]))


def gain(sampler: Sampler, schedule: Schedule, grid: Tensor, variances: Tensor) -> Tensor:
    """What a sampler multiplies each mode of its start by, on this grid (intervals + 1,): (M,) in float64.

    Raises:
        ValueError: a stochastic sampler.
    """
    if sampler.stochastic:
        raise ValueError("only a deterministic sampler has a gain: choose one with eta = 0")
    table = sampler.steps(schedule, grid)
    times = torch.tensor([step.t for step in table], dtype=torch.float64)
    levels = dict(zip(times.tolist(), schedule.levels(times), strict=True))

    def denoiser(x: Tensor, t: float, _: None) -> Tensor:
        level = levels[t]
        return level.alpha * variances / (level.alpha**2 * variances + level.sigma**2) * x

    return walk(table, denoiser, torch.ones_like(variances))[0]


def exact_gain(schedule: Schedule, grid: Tensor, variances: Tensor) -> Tensor:
    """What the probability-flow ODE multiplies each mode by from the grid's first time to its last: (M,)."""
    start, stop = schedule.levels(grid[[0, -1]])
    return ((stop.alpha**2 * variances + stop.sigma**2) / (start.alpha**2 * variances + start.sigma**2)).sqrt()


def error(sampler: Sampler, schedule: Schedule, grid: Tensor, spectrum: Spectrum, quiet: float = QUIET) -> float:
    """The error of a sampler on a grid (intervals + 1,) and a spectrum: see the module's docstring."""
    return float(_residuals(sampler, schedule, grid, spectrum, quiet).square().sum().sqrt())


def fit(
    sampler: Sampler, schedule: Schedule, spectrum: Spectrum, t_max: float | None = None, quiet: float = QUIET
) -> Tensor:
    """The grid on which a sampler is most accurate for a spectrum, with the ends of the grid it starts from.

    Args:
        sampler: deterministic. The fit starts from its own grid, or else from its default one.
        schedule: signal and noise at t.
        spectrum: of the data in the domain that is diffused.
        t_max: where the denoiser starts; None: the schedule's. Of no use where the sampler has a grid.
        quiet: share of the relative error, in [0, 1].

    Returns:
        (intervals + 1,) times, float64. Its error is at most that of the start.

    Raises:
        ValueError: as `gain`, or quiet outside [0, 1].
    """
    if not 0 <= quiet <= 1:
        raise ValueError(f"quiet is a share from 0 to 1, got {quiet}")
    t_max = schedule.t_max if t_max is None else t_max
    start = sampler.default_grid(schedule, t_max) if sampler.grid is None else sampler.grid
    problem = _Problem(sampler, schedule, start, spectrum, quiet)
    ratios = problem.ratios()
    if not len(ratios):
        return start
    found = problem.grid(_descend(problem, ratios.clamp(-math.log(RATIO), math.log(RATIO))))
    return min(start, found, key=lambda grid: error(sampler, schedule, grid, spectrum, quiet))


@dataclass(frozen=True)
class _Problem:
    """What is minimised, as a function of the log ratios of neighbouring intervals (intervals - 1,)."""

    sampler: Sampler
    schedule: Schedule
    start: Tensor
    spectrum: Spectrum
    quiet: float

    def ratios(self) -> Tensor:
        """Those of the grid that the fit starts from."""
        return (-self._angles().diff()).log().diff()

    def grid(self, ratios: Tensor) -> Tensor:
        """The grid that has these log ratios, and the ends of the start."""
        first, last = self._angles()[[0, -1]]
        shares = torch.softmax(torch.cat([ratios.new_zeros(1), ratios.cumsum(0)]), 0)
        # Summed from the last interval on, for small angles are sums of small ones.
        inner = last + (first - last) * shares.flip(0).cumsum(0).flip(0)[1:]
        times = self.schedule.t_from_log_snr(-2 * torch.log(torch.tan(inner)))
        return torch.cat([self.start[:1], times, self.start[-1:]])

    def residuals(self, ratios: Tensor) -> Tensor:
        """(M,) whose sum of squares is the error's square."""
        return _residuals(self.sampler, self.schedule, self.grid(ratios), self.spectrum, self.quiet)

    def slopes(self, ratios: Tensor, residuals: Tensor) -> Tensor:
        """d residuals / d ratios, (M, intervals - 1)."""
        nudges = NUDGE * torch.eye(len(ratios), dtype=torch.float64)
        return torch.stack([(self.residuals(ratios + nudge) - residuals) / NUDGE for nudge in nudges], 1)

    def _angles(self) -> Tensor:
        levels = self.schedule.levels(self.start)
        return torch.tensor([math.atan2(level.sigma, level.alpha) for level in levels], dtype=torch.float64)


def _residuals(sampler: Sampler, schedule: Schedule, grid: Tensor, spectrum: Spectrum, quiet: float) -> Tensor:
    exact = exact_gain(schedule, grid, spectrum.variances)
    power = (spectrum.weights * exact.square()).sum()
    factor = (spectrum.weights * ((1 - quiet) / power + quiet / exact.square())).sqrt()
    return factor * (gain(sampler, schedule, grid, spectrum.variances) - exact)


def _value(residuals: Tensor, ratios: Tensor) -> float:
    """What is minimised; infinite where the error is not a number."""
    value = float(residuals.square().sum().log() + EVENNESS * ratios.square().mean())
    return math.inf if math.isnan(value) else value


def _descend(problem: _Problem, ratios: Tensor) -> Tensor:
    """The log ratios at which no step makes things much better."""
    residuals = problem.residuals(ratios)
    value, damping = _value(residuals, ratios), 1.0
    bound, evenness = math.log(RATIO), EVENNESS / len(ratios)
    identity = torch.eye(len(ratios), dtype=torch.float64)
    for _ in range(ITERATIONS):
        before, square = value, residuals.square().sum()
        slopes = problem.slopes(ratios, residuals)
        curvature = slopes.T @ slopes / square + evenness * identity
        slope = slopes.T @ residuals / square + evenness * ratios
        while damping < 1e6 and value == before:
            step = torch.linalg.solve(curvature + damping * evenness * identity, slope)
            tried = (ratios - step).clamp(-bound, bound)
            there = problem.residuals(tried)
            if (least := _value(there, tried)) < value:
                ratios, residuals, value = tried, there, least
                damping /= 10
            else:
                damping *= 4
        if before - value < ENOUGH:
            break
    return ratios
