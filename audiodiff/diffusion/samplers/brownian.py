r"""The noise of a stochastic sampler as increments of one Brownian path.

If independent noise is drawn for each step, two runs with different steps have nothing in common. Their noises agree if
both are increments of the same Brownian motion W, indexed by a clock tau that runs with the noise level alone:

    noise_n = (W(tau_(n+1)) - W(tau_n)) / sqrt(|tau_(n+1) - tau_n|).

Then a run with half the steps sees the same path, and as steps shrink a stochastic sampler converges clip by clip. The
clock of a reverse SDE with eta times the ancestral noise (`integral`) is what makes its noise a martingale. Divided by
what carries the state, sigma_s e^(-eta lambda_s) or alpha_s, a step's noise has the variance

    "x0":       e^(2 eta lambda_s) - e^(2 eta lambda_t),            so   tau = SNR^eta
    "epsilon":  eta (e^(-2 lambda_t) - e^(-2 lambda_s)),            so   tau = 1 / SNR

Path. With u = tau / (1 + tau) and a Brownian bridge Y on [0, 1], W(tau) = (1 + tau) Y(u) is a Brownian motion on
[0, inf). Y at a dyadic u is found by halving (Levy's construction): between neighbors a and b,

    Y((a + b) / 2) = (Y(a) + Y(b)) / 2 + sqrt((b - a) / 4) z,

where z is position noise whose seed is a hash of the clip's seed and the midpoint. So any batch, chunk, device and
order of questions give the same path.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audiodiff.diffusion.noise import batch_noise, stable_hash
from audiodiff.diffusion.schedules.schedule import Schedule

# u is rounded to a multiple of 1 / NODES: between log_snr of +-14 that moves the clock by less than a millionth of
# itself.
NODES = 2**40


def martingale_clock(schedule: Schedule, grid: Tensor, predict: str = "x0", eta: float = 1.0) -> Tensor:
    """The clock of a stochastic sampler at each time of its grid (N,), float64: it rises for x0, falls for epsilon.

    Of `Multistep` for either; of `DDIM` and `Ancestral` ("small") at eta = 1 it is that of x0.
    """
    log_snr = schedule.log_snr(grid, torch.float64)
    return torch.exp(eta * log_snr if predict == "x0" else -log_snr)


def brownian_noise(
    seeds: Sequence[int],
    channels: int,
    samples: int,
    clock: Tensor,
    start: int = 0,
    device: torch.device | str | None = None,
) -> Callable[[int], Tensor]:
    """The `noise` of a stochastic sampler: step -> (B, channels, samples) float32, from one path for each clip.

    Args:
        seeds: (B,) one for each clip.
        channels: channels of the state.
        samples: length of the state.
        clock: (nfe + 1,) strictly monotone, each >= 0: `martingale_clock` at the times of the sampler's grid.
        start: position of the state's first sample in the clip.
        device: where to put the noise.

    Raises:
        ValueError: a clock that is negative, NaN, or not strictly monotone. In a call: a step to or from an infinite
            clock, where no sampler uses noise.
    """
    places = _places(clock)

    def noise(step: int) -> Tensor:
        ends = places[step : step + 2]
        if max(ends) == NODES:
            raise ValueError(f"the clock is infinite at step {step}, where there is no noise")
        before, after = (_brownian_motion(seeds, channels, samples, place, start) for place in ends)
        first, last = (place / (NODES - place) for place in ends)
        return ((after - before) / math.sqrt(abs(last - first))).float().to(device)

    return noise


def _places(clock: Tensor) -> list[int]:
    """The nodes nearest to the clock's u."""
    tau = clock.detach().cpu().double()
    u = torch.where(tau.isinf(), 1.0, tau / (1 + tau))
    places = torch.round(u * NODES).long() if bool((tau >= 0).all()) else u.new_zeros(2)
    steps = places.diff().sign()
    if len(places) < 2 or not bool((steps == steps[0]).all()) or not steps[0]:
        raise ValueError(f"a clock is at least 0 and strictly rises or strictly falls, got {clock.tolist()}")
    return places.tolist()


def _brownian_motion(seeds: Sequence[int], channels: int, samples: int, place: int, start: int) -> Tensor:
    """W where u = place / NODES < 1: (B, channels, samples) float64 on the CPU."""
    low, high = 0, NODES
    at_low = at_high = torch.zeros(len(seeds), channels, samples, dtype=torch.float64)
    while low < place:
        middle = (low + high) // 2
        z = batch_noise([stable_hash("brownian", seed, middle) for seed in seeds], channels, samples, start)
        at_middle = (at_low + at_high) / 2 + math.sqrt((high - low) / NODES / 4) * z
        if middle <= place:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return at_low / (1 - place / NODES)
