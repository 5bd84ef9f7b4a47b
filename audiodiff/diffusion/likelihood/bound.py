"""The variational bound on the log-likelihood of a chain of steps, term by term.

A model that starts from p(x_T) = N(0, scale^2), follows a grid of times t_T > ... > t_1 > 0 by Gaussian steps
p(x_s | x_t) and ends with a decoder p(x0 | x_1) has (Ho et al., "Denoising Diffusion Probabilistic Models", arXiv
2006.11239, eq. 5)

    -log p(x0) <= KL(q(x_T | x0), p(x_T)) + sum over steps E KL(q(x_s | x_t, x0), p(x_s | x_t)) - E log p(x0 | x_1),

where the first term is what is left of the signal at the start, and each expectation, over x_t ~ q(x_t | x0), is
estimated by one draw. With the exact denoiser and a grid that grows dense the bound tends to the negative
log-likelihood itself, from above, with an error in proportion to the size of the steps.

The decoder is N(E[x0 | x_1], sigma_1^2 / alpha_1^2) in each dimension: its density, or for data on a lattice its
probability of the lattice's cell.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.clips import check_clips
from audiodiff.diffusion.grids import grid as grids
from audiodiff.diffusion.likelihood.flow import LOG_SNR_MAX, log_angle, time_at
from audiodiff.diffusion.samplers.sampler import DenoiserLike, Noise, estimate, learned_posterior, start_time
from audiodiff.diffusion.schedules.schedule import Level
from audiodiff.diffusion.variance import Posterior
from audiodiff.precision import double

VARIANCES = ("small", "large", "learned")


def bound_grid(denoiser: DenoiserLike, steps: int, log_snr_max: float = LOG_SNR_MAX) -> Tensor:
    """A grid for `variational_bound`: (steps,) float64 times from t_max down to where log_snr = log_snr_max.

    Uniform in log tan(phi / 2), tan phi = sigma / alpha: even in the logarithm of the noise near the data.

    Raises:
        ValueError: fewer than two steps, or a log_snr_max that is not above the denoiser's start.
    """
    schedule = denoiser.schedule
    lowest = schedule.level(start_time(denoiser)).log_snr
    if steps < 2 or not lowest < log_snr_max:
        raise ValueError(
            f"a bound needs at least 2 steps and log_snr_max above {lowest:.6g}, got {steps} and {log_snr_max:.6g}"
        )
    stop = log_angle(min(log_snr_max, schedule.level(0.0).log_snr))
    angles = torch.linspace(log_angle(lowest), stop, steps, dtype=torch.float64).tolist()
    times = [start_time(denoiser), *(time_at(schedule, s) for s in angles[1:])]
    return grids.check(torch.tensor(times, dtype=torch.float64))


def variational_bound(
    denoiser: DenoiserLike,
    x0: Tensor,
    grid: Tensor,
    noise: Noise,
    cond: Any = None,
    variance: str = "small",
    cell: float | None = None,
) -> Tensor:
    """The terms of a bound on -log p(x0), in nats: (B, T + 1) float64, to be summed.

    They come in the order of sampling: prior, the T - 1 steps from noise to data, decoder. Takes T network evaluations.

    Args:
        denoiser: estimates E[x0 | x_t]; evaluated with t as a number; with `posterior` where the variance is learned.
        x0: (B, C, T) clean signals; every position counts.
        grid: (T,) strictly falling times above 0, such as `bound_grid`.
        noise: index of the time -> standard normal like x0 (`noise.step_noise`).
        cond: passed to the denoiser unchanged.
        variance: of the steps: "small", "large" or "learned", as in `Ancestral`. Large is close to the truth near the
            data, where x0 is known no better than x_t; small costs up to S^2 / T nats per dimension there, if the grid
            is one of `bound_grid` that spans S = 13 in log tan(phi / 2).
        cell: width of a lattice's cells, in x0's unit: 2 / 65536 for waveforms of 16 bits in [-1, 1]. The bound is
            then on a probability. None: on a density.

    Raises:
        ValueError: a grid that does not fall strictly, ends at sigma = 0 or starts above the denoiser's t_max, another
            variance, a denoiser that learned none, a cell that is not positive, or a condition of another number of
            clips than x0.
    """
    if variance not in VARIANCES:
        raise ValueError(f"variance is one of {', '.join(VARIANCES)}, got {variance!r}")
    if cell is not None and not cell > 0:
        raise ValueError(f"a lattice's cells need a positive width, got {cell}")
    check_clips(cond, x0)
    levels = denoiser.schedule.levels(grids.check(grid))
    t_max = start_time(denoiser)
    if levels[0].t > t_max or levels[-1].sigma == 0:
        raise ValueError(
            f"the bound's grid must lie between the denoiser's t_max = {t_max:.6g} and 0, exclusive, "
            f"got {levels[0].t:.6g} to {levels[-1].t:.6g}"
        )
    terms = [_prior(x0, levels[0])]
    for n, (start, stop) in enumerate(pairwise(levels)):
        step = Posterior.between(start, stop)
        x_t = start.alpha * x0 + start.sigma * noise(n).to(x0)
        x0_hat, fraction = _estimate_step(denoiser, x_t, start, stop, cond, variance)
        terms.append(step.divergence(x0, x0_hat, fraction))
    last = levels[-1]
    x0_hat = estimate(denoiser, last.alpha * x0 + last.sigma * noise(len(levels) - 1).to(x0), last.t, cond)
    terms.append(_decoder(x0 - x0_hat, last.sigma / last.alpha, cell))
    return torch.stack([double(term).flatten(1).sum(1) for term in terms], dim=1)


def _prior(x0: Tensor, level: Level) -> Tensor:
    """KL divergence from N(alpha x0, sigma^2) to N(0, scale^2), like x0."""
    share = level.alpha**2 / level.scale**2
    return 0.5 * (share * (x0.square() - 1) - math.log1p(-share))


def _estimate_step(
    denoiser: DenoiserLike, x_t: Tensor, start: Level, stop: Level, cond: Any, variance: str
) -> tuple[Tensor, Tensor]:
    """E[x0 | x_t], and where the step's log variance lies from small (0) to large (1); each like x_t."""
    if variance != "learned":
        return estimate(denoiser, x_t, start.t, cond), torch.full_like(x_t, float(variance == "large"))
    mean, log_variance = learned_posterior(denoiser, x_t, start.t, stop.t, cond)
    step = Posterior.between(start, stop)
    fraction = (log_variance - step.log_small) / (step.log_large - step.log_small)
    return (mean - step.carry * x_t) / step.gain, fraction


def _decoder(error: Tensor, spread: float, cell: float | None) -> Tensor:
    """-log of N(error; 0, spread^2), or of the probability of a cell around the error; like error."""
    if cell is None:
        return 0.5 * (error / spread).square() + math.log(spread * math.sqrt(2 * math.pi))
    # By symmetry the cell is taken on the left of the mean, where logarithms of the distribution function keep digits.
    upper = torch.special.log_ndtr((cell / 2 - error.abs()) / spread)
    lower = torch.special.log_ndtr((-cell / 2 - error.abs()) / spread)
    return -upper - torch.log(-torch.expm1(lower - upper))
