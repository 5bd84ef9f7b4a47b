"""Schedules from a chain's table of betas, and the tables that published models were trained with.

A chain of N steps x_i = sqrt(1 - beta_i) x_(i-1) + sqrt(beta_i) noise has alpha_i^2 = prod_(j <= i) (1 - beta_j) and
sigma_i^2 = 1 - alpha_i^2 (Ho et al., "Denoising Diffusion Probabilistic Models", arXiv 2006.11239). Here step i stands
at t = i / N, so that the table's N rows lie at 1 / N, ..., 1 and t = 0 is data. (Libraries that count their steps from
0 call the row at t = i / N step i - 1.)

Betas come and go as lists of numbers, ready for a config file.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audiodiff.diffusion.schedules.schedule import NoiseRate, OffsetCosine


class DiscreteSchedule(NoiseRate):
    """The continuous variance preserving process that equals a chain of betas at t = i / N.

    In between, the noise rate is constant: log alpha is linear in t, from exactly 0 at t = 0. A last beta of 1, which
    leaves no signal, has no rate; within that step alpha itself is linear in t.

    Args:
        betas: (N,) variances of the noise added by each step, 0 < beta < 1; the last of several may be 1.

    Raises:
        ValueError: no betas, or one out of range.
    """

    def __init__(self, betas: Sequence[float]):
        self.betas = _checked(betas)
        steps = len(self.betas)
        self._times = torch.arange(steps + 1, dtype=torch.float64) / steps
        decays = -torch.log1p(-torch.tensor(self.betas, dtype=torch.float64)).cumsum(0)
        self._decays = torch.cat([decays.new_zeros(1), decays])
        self._ends_in_noise = self.betas[-1] == 1
        if self._ends_in_noise:
            # What the last step removes is added apart; the tables end before it.
            self._times, self._decays = self._times[:-1], self._decays[:-1]

    def _decay(self, t: Tensor) -> Tensor:
        decay = _interpolate(t, self._times, self._decays)
        if self._ends_in_noise:
            left_of_last_step = ((1 - t) * len(self.betas)).clamp(max=1)
            decay = decay - 2 * torch.log(left_of_last_step)
        return decay

    def _t_from_decay(self, decay: Tensor) -> Tensor:
        t = _interpolate(decay, self._decays, self._times)
        if self._ends_in_noise:
            last = self._decays[-1]
            t = torch.where(decay > last, 1 - torch.exp((last - decay) / 2) / len(self.betas), t)
        return t


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> list[float]:
    """Evenly spaced betas (steps,): Ho et al. (arXiv 2006.11239)."""
    return _checked(torch.linspace(first, last, steps, dtype=torch.float64))


def scaled_linear_betas(steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> list[float]:
    """Betas (steps,) whose square roots are evenly spaced: latent diffusion, Rombach et al. (arXiv 2112.10752)."""
    return _checked(torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64) ** 2)


def cosine_betas(steps: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> list[float]:
    """Betas (steps,) of `OffsetCosine`, capped: Nichol and Dhariwal (arXiv 2102.09672), elsewhere squaredcos_cap_v2."""
    alpha = OffsetCosine(offset).alpha(torch.arange(steps + 1, dtype=torch.float64) / steps)
    return _checked((1 - (alpha[1:] / alpha[:-1]) ** 2).clamp(max=beta_max))


def zero_terminal_snr(betas: Sequence[float]) -> list[float]:
    """The betas (N,) rescaled to end in pure noise, the first step unchanged.

    alpha_i is shifted to end at 0 and scaled to keep alpha_1: Lin et al., "Common Diffusion Noise Schedules and Sample
    Steps are Flawed" (arXiv 2305.08891).

    Raises:
        ValueError: fewer than two betas, one out of range, or so much noise that float64 holds no signal to rescale.
    """
    betas = _checked(betas)
    if len(betas) < 2:
        raise ValueError("one beta cannot both stay and become 1, give at least two")
    alpha = torch.exp(torch.log1p(-torch.tensor(betas, dtype=torch.float64)).cumsum(0) / 2)
    # The scale that keeps alpha_1 cancels in the ratio of neighbors.
    alpha = alpha - alpha[-1]
    return _checked([betas[0], *(1 - (alpha[1:] / alpha[:-1]) ** 2).tolist()])


def _checked(betas: Sequence[float] | Tensor) -> list[float]:
    """The betas as numbers; ValueError where they are not a chain's."""
    betas = [float(beta) for beta in betas]
    if not betas:
        raise ValueError("a schedule needs at least one beta, got none")
    for i, beta in enumerate(betas):
        if not (0 < beta < 1 or (beta == 1 and 0 < i == len(betas) - 1)):
            where = f"at place {i} of {len(betas)}"
            raise ValueError(f"betas must lie in (0, 1), only the last of several may be 1: got {beta} {where}")
    return betas


def _interpolate(x: Tensor, nodes: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear values (K,) at rising nodes (K,), held beyond them; exact at every node."""
    nodes, values = nodes.to(x.device), values.to(x.device)
    x = x.clamp(nodes[0], nodes[-1])
    left = (torch.searchsorted(nodes, x.contiguous(), right=True) - 1).clamp(max=len(nodes) - 2)
    share = (x - nodes[left]) / (nodes[left + 1] - nodes[left])
    return torch.lerp(values[left], values[left + 1], share)
