"""Log-likelihood by the probability-flow ODE, and its units.

The ODE that carries data to noise also carries densities (Chen et al., "Neural Ordinary Differential Equations", arXiv
1806.07366; for diffusion, Song et al., arXiv 2011.13456): along dz/ds = f(z, s), log p(z(s)) changes by -div f. Here it
runs in z = x_t / scale, which has unit variance wherever x0 has, whatever the schedule, and in the coordinate

    s = log tan(phi / 2),   tan phi = sigma / alpha,

which is the logarithm of the noise near the data, where the modes of small variance are decided, and the angle itself
(but for a constant) near pure noise, where it ends at s = 0. Then cos phi = -tanh s, sinh(-s) = alpha / sigma and

    dz/ds = -tanh(s) z - E[x0 | x_t],   div f = -tanh(s) D - tr d E[x0 | x_t] / dz:

nothing is divided by, and log p(z at the data) = log N(z at t_max; 0, I) + integral of div f. The prior is that of the
samplers, standard normal noise times scale(t_max), so this is the density of what a sampler without error produces.

The trace is exact with one backward pass per dimension, or estimated without bias as the mean of p . J p over random
signs p (Hutchinson, as in Grathwohl et al., arXiv 1810.01367).
"""

import math
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiodiff.diffusion.clips import check_clips, map_tensors
from audiodiff.diffusion.guidance.gradient import recordable
from audiodiff.diffusion.samplers.sampler import DenoiserLike, Noise, estimate, start_time
from audiodiff.diffusion.schedules.schedule import Schedule

# The noise level that counts as data: 6e-6 of the signal's, a fifth of one step of 16 bits.
LOG_SNR_MAX = 24.0


def log_likelihood(
    denoiser: DenoiserLike,
    x0: Tensor,
    cond: Any = None,
    noise: Noise | None = None,
    probes: int = 1,
    log_snr_max: float = LOG_SNR_MAX,
    tolerance: float | None = None,
    max_nfe: int = 3000,
) -> Tensor:
    """log p(x0) under the model: nats, of the density of x0 in its own unit, (B,) float64.

    A density has no value at a noise level of exactly 0, so this is that of x0 plus noise of the standard deviation
    exp(-log_snr_max / 2), 6e-6 by default. For Gaussian data of variance v it differs by (d^2 - 1) exp(-log_snr_max) /
    (2 v) nats per dimension where x0 is d standard deviations from the mean.

    Args:
        denoiser: estimates E[x0 | x_t]; evaluated with t as a number and in x0's dtype; differentiable in x_t.
        x0: (B, C, T) clean signals; every position counts.
        cond: passed to the denoiser unchanged.
        noise: probe -> standard normal like x0 (`noise.step_noise`); its signs are the probes of Hutchinson's
            estimate, the same at all times. None: the exact trace, at C T backward passes an evaluation.
        probes: how many probes; unused without noise.
        log_snr_max: the noise level that counts as data, if the schedule reaches it.
        tolerance: of the solver, DOP853 with steps shared by the batch: standard deviations of the state and nats per
            dimension of the log-density, in root mean square over the batch. None: 1e-7 if x0 is float64, else 1e-5,
            which rounding still allows.
        max_nfe: maximum number of evaluations; smooth denoisers take a few hundred. A network in
            bfloat16, say, is too rough for a small tolerance.

    Raises:
        ValueError: fewer than one probe, a log_snr_max that is not above the denoiser's start, a condition of another
            number of clips than x0, an estimate that is not finite, or a denoiser that is too rough to be solved for.
    """
    from scipy.integrate import solve_ivp

    if probes < 1:
        raise ValueError(f"the estimate of a trace needs at least one probe, got {probes}")
    check_clips(cond, x0)
    schedule, shape, dimensions = denoiser.schedule, x0.shape, x0[0].numel()
    lowest = schedule.level(start_time(denoiser)).log_snr
    if not lowest < log_snr_max:
        raise ValueError(f"log_snr_max must be above the {lowest:.6g} where the model starts, got {log_snr_max:.6g}")
    start, stop = log_angle(min(log_snr_max, schedule.level(0.0).log_snr)), log_angle(lowest)
    if tolerance is None:
        tolerance = 1e-7 if x0.dtype == torch.float64 else 1e-5
    directions = _directions(x0, noise, probes)
    cond = map_tensors(recordable, cond)
    evaluations = count(1)

    def slope(s: float, state: np.ndarray) -> np.ndarray:
        if next(evaluations) > max_nfe:
            raise ValueError(
                f"not solved to a tolerance of {tolerance} in {max_nfe} evaluations: raise tolerance or max_nfe"
            )
        t = time_at(schedule, s) if s < stop else start_time(denoiser)
        z = torch.from_numpy(state).reshape(shape[0], -1)[:, :-1].reshape(shape).to(x0)
        x0_hat, trace = _estimate_and_trace(denoiser, z, t, cond, directions)
        drift = -math.tanh(s) * z - x0_hat
        divergence = -math.tanh(s) - trace / dimensions
        return torch.cat([drift.flatten(1), divergence[:, None]], 1).cpu().double().flatten().numpy()

    z = -math.tanh(start) * x0.detach().cpu().double().flatten(1)
    state = torch.cat([z, torch.zeros(len(x0), 1, dtype=torch.float64)], 1).flatten().numpy()
    solution = solve_ivp(slope, (start, stop), state, method="DOP853", rtol=tolerance, atol=tolerance, t_eval=[stop])
    if not solution.success:
        raise ValueError(f"not solved to a tolerance of {tolerance}, raise it: {solution.message}")
    end = torch.from_numpy(solution.y[:, 0]).reshape(shape[0], -1)
    prior = -0.5 * (end[:, :-1].square() + math.log(2 * math.pi)).sum(1)
    # The last term converts the density of z to that of x0.
    return prior + dimensions * (end[:, -1] + math.log(-math.tanh(start)))


def bits_per_dimension(log_likelihood: Tensor, dimensions: int, data_range: float, levels: int | None = None) -> Tensor:
    """Bits a dimension to state a signal, like `log_likelihood`.

    -log2 p per dimension depends on the unit of the data, so it is stated for data divided by `data_range`: the same
    signals in a unit c times smaller, with the same range, take log2(c) bits more; with their range they take as many.
    With levels it is the cost to a resolution of data_range / levels, as of a lossless codec: log2(levels) more.

    Args:
        log_likelihood: nats of the density in the data's own unit, any shape.
        dimensions: C T, values a signal.
        data_range: highest minus lowest value that the data can take: 2 for waveforms in [-1, 1].
        levels: how many values there are in the range: 65536 for 16 bits. None: a density.

    Raises:
        ValueError: dimensions, data_range or levels that are not positive.
    """
    if not (dimensions > 0 and data_range > 0 and (levels is None or levels > 0)):
        raise ValueError(
            "bits per dimension need positive dimensions, data_range and levels, got "
            f"{dimensions}, {data_range} and {levels}"
        )
    return -log_likelihood / (dimensions * math.log(2)) + math.log2((levels or 1) / data_range)


def dequantize(x0: Tensor, noise: Tensor, data_range: float, levels: int) -> Tensor:
    """Signals that were rounded to one of `levels` values, spread evenly over what rounds to it; like x0.

    A density of rounded values is not bounded. With u uniform, E[log p(x0 + u)] + log(step) is at most the
    log-probability of the rounded values (Theis et al., arXiv 1511.01844): the bits per dimension, with levels, are
    never too few.

    Args:
        x0: (B, C, T) multiples of data_range / levels.
        noise: standard normal like x0 (`noise.batch_noise`); made uniform by its distribution function.
        data_range: highest minus lowest value: 2 for waveforms in [-1, 1].
        levels: 65536 for 16 bits.
    """
    return x0 + (torch.special.ndtr(noise).to(x0) - 0.5) * (data_range / levels)


def log_angle(log_snr: float) -> float:
    """s = log tan(phi / 2), at most 0, for a log_snr; the module's docstring says why."""
    return -math.asinh(math.exp(log_snr / 2))


def time_at(schedule: Schedule, s: float) -> float:
    """The schedule's time at s = log tan(phi / 2) < 0."""
    return schedule.t_from_log_snr(2 * math.log(math.sinh(-s))).item()


def _estimate_and_trace(
    denoiser: DenoiserLike, z: Tensor, t: float, cond: Any, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """E[x0 | x_t] at x_t = scale z, (B, C, T), and the trace of its Jacobian with respect to z, (B,)."""
    with torch.inference_mode(False), torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        x0_hat = estimate(denoiser, denoiser.schedule.level(t).scale * z, t, cond)
        trace = torch.zeros(len(z), dtype=z.dtype, device=z.device)
        for direction in directions:
            (pulled,) = torch.autograd.grad(x0_hat, z, direction, retain_graph=True)
            trace += (direction * pulled).flatten(1).sum(1)
    if not bool(torch.isfinite(x0_hat).all()):
        raise ValueError(f"not finite at t = {t:.6g}: the network returned NaN or infinity")
    return x0_hat.detach(), trace


def _directions(x0: Tensor, noise: Noise | None, probes: int) -> Tensor:
    """(P, B, C, T): p such that the sum of p . J p is the trace of J, or an estimate without bias."""
    with torch.inference_mode(False):
        if noise is None:
            units = torch.eye(x0[0].numel(), dtype=x0.dtype, device=x0.device)
            return units.reshape(-1, 1, *x0.shape[1:]).expand(-1, *x0.shape)
        draws = torch.stack([noise(probe) for probe in range(probes)]).to(x0)
        return torch.where(draws < 0, -1.0, 1.0).to(x0) / math.sqrt(probes)
