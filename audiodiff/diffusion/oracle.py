"""Denoisers in closed form, to test samplers, objectives, guidance and likelihood with.

For x0 ~ N(mean, C) and x_t = alpha x0 + sigma noise, x_t is Gaussian with mean alpha mean and covariance
alpha^2 C + sigma^2 I, x0 given x_t is Gaussian with

    E[x0 | x_t] = mean + alpha C (alpha^2 C + sigma^2 I)^-1 (x_t - alpha mean),

and the probability-flow ODE scales each eigenmode by the ratio of marginal standard deviations. A mixture weights the
estimates of its components by their posterior probabilities. alpha^2 + sigma^2 need not be 1. Signals (B, ...) are
flattened to (B, D) and computed in float64 on the CPU.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.objective import Amplitude, Objective
from audiodiff.diffusion.schedules.schedule import Schedule


class Oracle(ABC):
    """A distribution of clean signals with an exact denoiser, which samplers take.

    Args:
        schedule: signal and noise at t.
    """

    def __init__(self, schedule: Schedule):
        self.schedule = schedule

    @property
    def t_max(self) -> float:
        """The schedule's: an oracle can start at pure noise."""
        return self.schedule.t_max

    @abstractmethod
    def posterior_mean(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """E[x0 | x_t], (B, D), for x_t (B, D); amplitudes are numbers or (B, 1)."""

    def log_density(self, x_t: Tensor, alpha: Amplitude = 1.0, sigma: Amplitude = 0.0) -> Tensor:
        """log p(x_t) in nats, (B,), for x_t (B, D); of clean signals unless amplitudes are given."""
        return self._log_density(x_t, alpha, sigma)

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Clean signals (count, D) in float64."""

    def __call__(self, x_t: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
        """E[x0 | x_t] like x_t (B, ...) at the time t, a scalar or (B,)."""
        if not isinstance(t, Tensor):
            level = self.schedule.level(t)
            return self._estimate(x_t, level.alpha, level.sigma)
        alpha, sigma = (f(t, torch.float64).reshape(-1, 1) for f in (self.schedule.alpha, self.schedule.sigma))
        return self._estimate(x_t, alpha, sigma)

    def as_network(self, objective: Objective) -> Callable[[Tensor, Tensor, Any], Tensor]:
        """The exact denoiser as a network `(y, log_snr (B,), cond)` that predicts the objective's target.

        As every network of a `Denoiser` it sees y = x_t / scale, the variance preserving process of the same log_snr,
        and predicts for the schedule's alpha and sigma. Defined for finite log_snr.
        """

        def network(y: Tensor, log_snr: Tensor, cond: Any = None) -> Tensor:
            signal, noise = (torch.sigmoid(sign * log_snr.double()).sqrt()[:, None] for sign in (1, -1))
            x0 = self._estimate(y, signal, noise)
            scale = self.schedule.scale(self.schedule.t_from_log_snr(log_snr.double()))[:, None]
            shape = (-1,) + (1,) * (y.ndim - 1)
            alpha, sigma = ((scale * amplitude).reshape(shape) for amplitude in (signal, noise))
            signal, noise = (amplitude.to(y).reshape(shape) for amplitude in (signal, noise))
            return objective.target(x0, (y - signal * x0) / noise, alpha, sigma)

        return network

    @abstractmethod
    def _log_density(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor: ...

    def _estimate(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        return self.posterior_mean(x_t.flatten(1).double(), alpha, sigma).reshape(x_t.shape).to(x_t.dtype)


class GaussianOracle(Oracle):
    """x0 ~ N(mean, covariance).

    Args:
        mean: (D,).
        covariance: (D, D), symmetric and positive definite.
        schedule: signal and noise at t.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, schedule: Schedule):
        super().__init__(schedule)
        self.mean = mean.double()
        self.covariance = covariance.double()
        self.variances, self.modes = torch.linalg.eigh(self.covariance)

    def posterior_mean(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """E[x0 | x_t], (B, D)."""
        gain = alpha * self.variances / (alpha**2 * self.variances + sigma**2)
        return self.mean + self._through_modes(x_t - alpha * self.mean, gain)

    def flow(self, x_t: Tensor, t: float, s: float) -> Tensor:
        """The exact probability-flow ODE from time t to time s, like x_t (B, ...)."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (self.schedule.level(u)[:2] for u in (t, s))
        scale = torch.sqrt((alpha_s**2 * self.variances + sigma_s**2) / (alpha_t**2 * self.variances + sigma_t**2))
        x_s = alpha_s * self.mean + self._through_modes(x_t.flatten(1) - alpha_t * self.mean, scale)
        return x_s.reshape(x_t.shape)

    def _log_density(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        variances = alpha**2 * self.variances + sigma**2
        squares = ((x_t - alpha * self.mean) @ self.modes).square()
        return -0.5 * (squares / variances + variances.log() + math.log(2 * math.pi)).sum(1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Clean signals (count, D) in float64."""
        white = torch.randn(count, len(self.mean), generator=generator, dtype=torch.float64)
        return self.mean + self._through_modes(white, self.variances.sqrt())

    def _through_modes(self, x: Tensor, gain: Tensor) -> Tensor:
        return (x @ self.modes * gain) @ self.modes.T


class MixtureOracle(Oracle):
    """x0 ~ sum_k weights_k N(means_k, covariances_k).

    Args:
        weights: (K,) probabilities.
        means: (K, D).
        covariances: (K, D, D), each symmetric and positive definite.
        schedule: signal and noise at t.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, schedule: Schedule):
        super().__init__(schedule)
        self.weights = weights.double()
        self.components = [GaussianOracle(m, c, schedule) for m, c in zip(means, covariances, strict=True)]

    def posterior_mean(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """E[x0 | x_t], (B, D)."""
        shares = self.log_shares(x_t, alpha, sigma).exp()
        estimates = torch.stack([c.posterior_mean(x_t, alpha, sigma) for c in self.components])
        return (shares[..., None] * estimates).sum(0)

    def _log_density(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        return torch.logsumexp(self._log_parts(x_t, alpha, sigma), dim=0)

    def log_shares(self, x_t: Tensor, alpha: Amplitude = 1.0, sigma: Amplitude = 0.0) -> Tensor:
        """log p(k | x_t), (K, B): the exact classifier of noisy signals by component."""
        return torch.log_softmax(self._log_parts(x_t, alpha, sigma), dim=0)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Clean signals (count, D) in float64."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        draws = torch.stack([c.sample(count, generator) for c in self.components])
        return draws[chosen, torch.arange(count)]

    def _log_parts(self, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """log of weights_k p_k(x_t), (K, B)."""
        densities = torch.stack([c.log_density(x_t, alpha, sigma) for c in self.components])
        return densities + self.weights.log()[:, None]
