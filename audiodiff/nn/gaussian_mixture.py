"""Mixtures of Gaussians: the densities of observations in the states of a hidden Markov model.

Trained by expectation maximization (Dempster, Laird and Rubin 1977): given which state each observation belongs to, the
statistics below determine the next parameters in closed form. There is no learning rate, and the likelihood of the
training data does not fall.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audiodiff.ranges import Positive

MIN_VARIANCE = 0.02  # of standardized observations
_MIN_COUNT = 20.0  # observations; a component with fewer keeps its parameters
_CHUNK = 8192  # observations at once


@dataclass
class Statistics:
    """Sums over the observations of each component: their count (S, M), x and x^2 (S, M, D)."""

    counts: Tensor
    sums: Tensor
    squares: Tensor


class GaussianMixtures(nn.Module):
    """One mixture of Gaussians with diagonal covariances per state, at first standard normal.

    Args:
        states: S.
        components: M, of each mixture.
        features: D, of an observation.
    """

    def __init__(self, states: Positive, components: Positive, features: Positive):
        super().__init__()
        self.states, self.components, self.features = states, components, features
        self.mean = nn.Parameter(torch.empty(states, components, features))
        self.log_variance = nn.Parameter(torch.empty(states, components, features))
        self.log_weight = nn.Parameter(torch.empty(states, components))
        nn.init.zeros_(self.mean)
        nn.init.zeros_(self.log_variance)
        nn.init.constant_(self.log_weight, -math.log(components))

    def forward(self, x: Tensor) -> Tensor:
        """Log density of observations (..., D) in each state: (..., S)."""
        precision = torch.exp(-self.log_variance).flatten(0, 1)
        mean, constant = (
            self.mean.flatten(0, 1),
            self._constant().flatten() - 0.5 * (self.mean.square() * torch.exp(-self.log_variance)).sum(-1).flatten(),
        )
        joint = constant + x @ (mean * precision).T - 0.5 * x.square() @ precision.T
        return joint.unflatten(-1, (self.states, self.components)).logsumexp(-1)

    def _constant(self) -> Tensor:
        """Log of each component's weight and normalization (S, M)."""
        return self.log_weight - 0.5 * (self.log_variance.sum(-1) + self.features * math.log(2 * math.pi))

    def new_statistics(self) -> Statistics:
        """Statistics of no observations."""
        sums = torch.zeros(self.mean.shape, dtype=torch.float64, device=self.mean.device)
        return Statistics(sums[..., 0].clone(), sums, sums.clone())

    @torch.no_grad()
    def accumulate(self, statistics: Statistics, x: Tensor, states: Tensor) -> None:
        """Add observations (T, D) that belong to states (T,); the mixture decides their shares in the components."""
        constant = self._constant()
        for rows, own in zip(x.split(_CHUNK), states.split(_CHUNK), strict=True):
            distance = (rows[:, None] - self.mean[own]).square() * torch.exp(-self.log_variance[own])
            share = (constant[own] - 0.5 * distance.sum(-1)).softmax(-1)
            weighted = share[..., None] * rows[:, None]
            statistics.counts += torch.zeros_like(constant).index_add_(0, own, share)
            statistics.sums += torch.zeros_like(self.mean).index_add_(0, own, weighted)
            statistics.squares += torch.zeros_like(self.mean).index_add_(0, own, weighted * rows[:, None])

    @torch.no_grad()
    def update(self, found: Statistics) -> None:
        """Set the parameters that make the observations most likely; variances stay at `MIN_VARIANCE` or above."""
        counts = found.counts.clamp(min=1e-3)[..., None]
        mean = found.sums / counts
        variance = (found.squares / counts - mean.square()).clamp(min=MIN_VARIANCE)
        enough, total = found.counts >= _MIN_COUNT, found.counts.sum(1, keepdim=True)
        self.mean.copy_(torch.where(enough[..., None], mean, self.mean))
        self.log_variance.copy_(torch.where(enough[..., None], variance.log(), self.log_variance))
        weight = ((found.counts + 1e-3) / (total + 1e-3 * self.components)).log()
        self.log_weight.copy_(torch.where(total >= _MIN_COUNT, weight, self.log_weight))

    @torch.no_grad()
    def split(self) -> "GaussianMixtures":
        """Mixtures of twice as many components: each becomes two, a fifth of its deviation to either side."""
        doubled = GaussianMixtures(self.states, 2 * self.components, self.features).to(self.mean)
        step = 0.2 * (0.5 * self.log_variance).exp()
        doubled.mean.copy_(torch.cat([self.mean - step, self.mean + step], 1))
        doubled.log_variance.copy_(self.log_variance.repeat(1, 2, 1))
        doubled.log_weight.copy_(self.log_weight.repeat(1, 2) - math.log(2))
        return doubled
