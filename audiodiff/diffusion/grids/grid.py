"""Time grids, as plain tensors.

A grid is a float64 tensor of nfe + 1 strictly falling times in [0, 1]: the denoiser is evaluated at all but the
last. Where the last is 0 the sampler ends on clean data.
"""

import math

import torch
from torch import Tensor

from audiodiff.diffusion.schedules.schedule import Schedule

LOG_SNR_MIN = -10.0
LOG_SNR_MAX = 10.0
# Inside the range of an epsilon model, which starts at log_snr = -10.
BALANCED_LOG_SNR_MAX = 9.0
# Within 10 percent of the best for second to fourth order at 5 to 50 steps on the problems of bench/solvers.py.
ANGLE_WARP = 1.5


def check(grid: Tensor) -> Tensor:
    """The grid in float64 on the CPU.

    Raises:
        ValueError: not one-dimensional, fewer than two times, not finite, outside [0, 1], or not strictly falling (the
            message names the first offending pair).
    """
    grid = torch.as_tensor(grid).detach().cpu().double()
    if grid.ndim != 1 or len(grid) < 2:
        raise ValueError(f"a grid needs one dimension and at least two times, got shape {tuple(grid.shape)}")
    if not bool(torch.isfinite(grid).all()) or float(grid.min()) < 0 or float(grid.max()) > 1:
        raise ValueError(f"a grid's times must lie in [0, 1], got {grid.tolist()}")
    rising = (grid[1:] >= grid[:-1]).nonzero().flatten().tolist()
    if rising:
        i = rising[0]
        raise ValueError(
            f"a grid must fall strictly, but time {i} is {grid[i]:.17g} and time {i + 1} {grid[i + 1]:.17g}"
        )
    return grid


def uniform_t(schedule: Schedule, nfe: int, t_max: float | None = None, t_min: float = 0.0) -> Tensor:
    """Evenly spaced times from t_max (None: the schedule's) to t_min. (nfe + 1,)

    On the cosine schedule this is the grid of even angles atan(sigma / alpha).
    """
    return check(torch.linspace(schedule.t_max if t_max is None else t_max, t_min, nfe + 1, dtype=torch.float64))


def uniform_log_snr(
    schedule: Schedule,
    nfe: int,
    log_snr_min: float = LOG_SNR_MIN,
    log_snr_max: float = LOG_SNR_MAX,
    to_zero: bool = True,
) -> Tensor:
    """Evenly spaced log_snr between the bounds; then t = 0 as the last step's end if `to_zero`. (nfe + 1,)

    Lu et al., "DPM-Solver" (arXiv 2206.00927). Starts at t_max where the schedule does not reach down to
    log_snr_min.
    """
    first = max(log_snr_min, schedule.level(schedule.t_max).log_snr)
    log_snr = torch.linspace(first, log_snr_max, nfe + (not to_zero), dtype=torch.float64)
    return _times(schedule, log_snr, to_zero)


def karras(
    schedule: Schedule,
    nfe: int,
    rho: float = 7.0,
    log_snr_min: float = LOG_SNR_MIN,
    log_snr_max: float = LOG_SNR_MAX,
    to_zero: bool = True,
) -> Tensor:
    """Evenly spaced (sigma / alpha)^(1 / rho) between the bounds; then t = 0 if `to_zero`. (nfe + 1,)

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (arXiv 2206.00364), eq. 5, in the
    ratio sigma / alpha, which is the noise level of a variance exploding process. As rho grows the grid tends to
    `uniform_log_snr`. Starts at t_max where the schedule does not reach down to log_snr_min.
    """
    first = max(log_snr_min, schedule.level(schedule.t_max).log_snr)
    start, stop = (math.exp(-log_snr / (2 * rho)) for log_snr in (first, log_snr_max))
    root = torch.linspace(start, stop, nfe + (not to_zero), dtype=torch.float64)
    return _times(schedule, -2 * rho * torch.log(root), to_zero)


def balanced(schedule: Schedule, nfe: int, t_max: float | None = None) -> Tensor:
    """t_max, then evenly spaced log_snr while sigma / alpha falls from nfe to 1 / nfe, then 0. (nfe + 1,)

    For samplers that interpolate in half-log-SNR. The steps at both ends, which are of order 1, shrink as 1 / nfe like
    all others, whereas fixed bounds spend steps on levels without detail. At 6 to 10 steps on the oracles DPM-Solver++
    2M is 2.5 times as accurate as on uniform t, and several times as accurate as on `uniform_log_snr`. log_snr is
    within +-9. From a t_max with less noise than 1 / nfe, as of a slight variation, it is uniform in t.
    """
    t_max = schedule.t_max if t_max is None else t_max
    if nfe == 1:
        return check(torch.tensor([t_max, 0.0], dtype=torch.float64))
    bound = min(2 * math.log(nfe), BALANCED_LOG_SNR_MAX)
    noisiest = schedule.level(t_max).log_snr
    if noisiest >= bound:
        return uniform_t(schedule, nfe, t_max)
    if noisiest < -bound:
        inner = torch.linspace(-bound, bound, nfe - 1, dtype=torch.float64)
    else:
        inner = torch.linspace(noisiest, bound, nfe, dtype=torch.float64)[1:]
    return check(torch.cat([torch.tensor([t_max], dtype=torch.float64), _times(schedule, inner, to_zero=True)]))


def warped_angle(schedule: Schedule, nfe: int, t_max: float | None = None, rho: float = ANGLE_WARP) -> Tensor:
    """Warped angles atan(sigma / alpha): even at first, denser towards the data. (nfe + 1,)

    With s = 0, 1 / nfe, .. 1 and a = (1 - s)^rho the angle is that of t_max times a / (a + s): rho = 1 is even angles,
    greater ones place more of them near the data, where small details emerge. For samplers that interpolate v, which
    need neither bounds nor special steps at the ends.

    Raises:
        ValueError: rho < 1.
    """
    if not rho >= 1:
        raise ValueError(f"rho must be at least 1, got {rho}")
    t_max = schedule.t_max if t_max is None else t_max
    s = torch.arange(1, nfe, dtype=torch.float64) / nfe
    a = (1 - s) ** rho
    level = schedule.level(t_max)
    angle = math.atan2(level.sigma, level.alpha) * a / (a + s)
    inner = schedule.t_from_log_snr(-2 * torch.log(torch.tan(angle)))
    return check(torch.cat([inner.new_tensor([t_max]), inner, inner.new_zeros(1)]))


def _times(schedule: Schedule, log_snr: Tensor, to_zero: bool) -> Tensor:
    t = schedule.t_from_log_snr(log_snr).clamp(max=schedule.t_max)
    return check(torch.cat([t, t.new_zeros(1)]) if to_zero else t)
