"""A learned noise schedule.

In continuous time the variational bound of a diffusion model is, in nats per clip,

    bound = integral from 0 to 1 of  -1/2 log_snr'(t) E |noise - noise_hat|^2 dt,

plus terms of the two ends. By a change of variables it depends on log_snr(0) and log_snr(1) and on nothing in between:
the path between the ends only decides how much the estimate at one random t varies. So the ends are learned with the
network, to lower the bound, and the path to lower the variance of the estimate. As the path cannot change the mean, the
gradient of the variance is that of the mean square (Kingma et al., "Variational Diffusion Models", arXiv 2107.00630).

The path is their monotone network: a line and rising sigmoids with positive weights,

    height(t) = t + sum_k weight_k sigmoid(steepness_k (t - center_k)),
    log_snr(t) = log_snr(0) + (log_snr(1) - log_snr(0)) (height(t) - height(0)) / (height(1) - height(0)).

It starts close to a straight line.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from audiodiff.diffusion.clips import check_output
from audiodiff.diffusion.schedules.schedule import VariancePreserving
from audiodiff.precision import double

# Where the search for a time hands over to Newton's method, which squares what is left.
BRACKET = 1e-9
MAX_SIGMOIDS = 2**16


class LearnedSchedule(nn.Module, VariancePreserving):
    """A variance preserving schedule whose log_snr is a falling function with learned ends and a learned path.

    Differentiable in its parameters, which are float64 and should stay so. Both ends are finite: at t = 0 a trace of
    noise is left, of variance sigmoid(-log_snr_max).

    Args:
        log_snr_min: log_snr(1) before training.
        log_snr_max: log_snr(0) before training.
        sigmoids: number of sigmoids of the path.

    Attributes:
        ends: parameter (2,), log_snr at t = 0 and t = 1.

    Raises:
        ValueError: not log_snr_min < log_snr_max, both finite, fewer than one sigmoid or more than `MAX_SIGMOIDS`.
    """

    def __init__(self, log_snr_min: float = -5.0, log_snr_max: float = 13.3, sigmoids: int = 64):
        super().__init__()
        if not -math.inf < log_snr_min < log_snr_max < math.inf:
            raise ValueError(f"ends need log_snr_min < log_snr_max, got {log_snr_min} and {log_snr_max}")
        if not 1 <= sigmoids <= MAX_SIGMOIDS:
            raise ValueError(f"the path needs at least one sigmoid and at most {MAX_SIGMOIDS}, got {sigmoids}")
        self.log_snr_min = log_snr_min
        self.log_snr_max = log_snr_max
        self.sigmoids = sigmoids
        self.ends = nn.Parameter(torch.tensor([log_snr_max, log_snr_min], dtype=torch.float64))
        # Evenly spread, each about as wide as two shares and all together as high as the line: a ramp without ripples.
        ones = torch.ones(sigmoids, dtype=torch.float64)
        self.centers = nn.Parameter((ones.cumsum(0) - 0.5) / sigmoids)
        self.log_steepness = nn.Parameter(torch.log(2 * sigmoids * ones))
        self.log_weights = nn.Parameter(torch.log(ones / sigmoids))

    def path_parameters(self) -> list[nn.Parameter]:
        """The parameters of the path between the ends, which `with_path_gradient` trains."""
        return [self.centers, self.log_steepness, self.log_weights]

    def rate(self, t: Tensor) -> Tensor:
        """-d log_snr / dt > 0 at t, in t's dtype and shape."""
        place = t.to(self.ends)
        rises = self._rises(place)
        slope = 1 + ((self.log_weights + self.log_steepness).exp() * rises * (1 - rises)).sum(-1)
        zero, one = self._height(place.new_tensor([0.0, 1.0]))
        return ((self.ends[0] - self.ends[1]) * slope / (one - zero)).to(t)

    def _rises(self, t: Tensor) -> Tensor:
        return torch.sigmoid(self.log_steepness.exp() * (t[..., None] - self.centers))

    def _height(self, t: Tensor) -> Tensor:
        return t + (self.log_weights.exp() * self._rises(t)).sum(-1)

    def _log_snr(self, t: Tensor) -> Tensor:
        place = t.to(self.ends)
        zero, one = self._height(place.new_tensor([0.0, 1.0]))
        # lerp is exact at both of its ends.
        return torch.lerp(self.ends[0], self.ends[1], (self._height(place) - zero) / (one - zero)).to(t)

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        with torch.no_grad():
            while bool((high - low > BRACKET).any()):
                middle = (low + high) / 2
                before = self._log_snr(middle) > log_snr
                low, high = torch.where(before, middle, low), torch.where(before, high, middle)
            t = (low + high) / 2
        # Newton's step is also what carries the gradient: that of the inverse function, in log_snr and parameters.
        return t + (self._log_snr(t) - log_snr) / self.rate(t).detach()


class Denoises(Protocol):
    """A denoiser with a learned schedule."""

    schedule: LearnedSchedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[x0 | x_t]."""


def bound_at(denoiser: Denoises, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The bound's integrand at one time per clip, (B,) nats in float64: 1/2 rate |noise - noise_hat|^2.

    Its mean over uniform t estimates the bound without the terms of the ends. Differentiable in network and schedule.

    Args:
        denoiser: estimates E[x0 | x_t].
        x0: (B, ...) clean signals.
        noise: like x0, standard normal.
        t: (B,) times.
    """
    schedule = denoiser.schedule
    shape = (-1,) + (1,) * (x0.ndim - 1)
    alpha, sigma = (level.reshape(shape) for level in (schedule.alpha(t).to(x0), schedule.sigma(t).to(x0)))
    x0_hat = check_output(denoiser(alpha * x0 + sigma * noise, t), x0.shape, x0.dtype, "the denoiser")
    # noise - noise_hat = (x0_hat - x0) alpha / sigma.
    error = double(x0_hat - x0).square().flatten(1).sum(1)
    return schedule.rate(double(t)) * schedule.log_snr(double(t)).exp() * error / 2


def with_path_gradient(losses: Tensor, schedule: LearnedSchedule) -> Tensor:
    """The mean of losses (B,), but to the schedule's path its gradient is that of the mean square.

    What to minimize where the network, the ends and the path are trained together: the path then lowers the variance
    of the losses, everything else their mean. Costs one pass back from the losses to the path.

    Args:
        losses: (B,) estimates of the bound, one per clip, that the schedule's parameters have a part in.
        schedule: whose path is trained.
    """
    path = schedule.path_parameters()
    # The gradient of the mean square less that of the mean, which the mean brings along.
    weights = (2 * losses.detach() - 1) / len(losses)
    gradients = torch.autograd.grad(losses, path, weights, retain_graph=True)
    parts = [(parameter * gradient).sum() for parameter, gradient in zip(path, gradients, strict=True)]
    carrier = sum(parts[1:], parts[0])
    return losses.mean() + (carrier - carrier.detach())
