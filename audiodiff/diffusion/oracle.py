"""Denoisers in closed form, to prove samplers and objectives against.

For x0 ~ N(mean, covariance) and x_t = alpha x0 + sigma noise, x0 given x_t is Gaussian with

    E[x0 | x_t] = mean + alpha C (alpha^2 C + sigma^2 I)^-1 (x_t - alpha mean),

and the probability-flow ODE scales each eigenmode by the ratio of marginal standard deviations. A mixture weighs its
components' answers by their posterior probabilities. Signals (B, ...) are flattened to (B, D). All is in float64 on
the CPU, whatever the dtype of x_t.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedule import Schedule


class Oracle(ABC):
    """A distribution of clean signals whose denoiser is known; a denoiser for samplers as it stands.

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
    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x_t], (B, D), for x_t (B, D) and alpha, sigma that broadcast against it."""

    def __call__(self, x_t: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
        """E[x0 | x_t] like x_t (B, ...) at the time t, a scalar or (B,)."""
        return self._answer(x_t, self.schedule.alpha(t, torch.float64), self.schedule.sigma(t, torch.float64))

    def as_network(self, objective: Objective) -> Callable[[Tensor, Tensor, Any], Tensor]:
        """The same knowledge as a network `(x_t, log_snr (B,), cond)` that predicts what the objective asks for.

        Defined for finite log_snr, which is all that a `Denoiser` asks.
        """

        def network(x_t: Tensor, log_snr: Tensor, cond: Any = None) -> Tensor:
            shape = (-1,) + (1,) * (x_t.ndim - 1)
            alpha, sigma = (torch.sigmoid(s * log_snr.to(x_t)).sqrt().reshape(shape) for s in (1, -1))
            x0 = self._answer(x_t, alpha, sigma)
            return objective.target(x0, (x_t - alpha * x0) / sigma, alpha, sigma)

        return network

    def _answer(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        alpha, sigma = (level.double().reshape(-1, 1) for level in (alpha, sigma))
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

    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x_t], (B, D)."""
        gain = alpha * self.variances / (alpha**2 * self.variances + sigma**2)
        return self.mean + self._through_modes(x_t - alpha * self.mean, gain)

    def flow(self, x_t: Tensor, t: float, s: float) -> Tensor:
        """The exact probability-flow ODE from time t to time s, like x_t (B, ...)."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = ((self.schedule.alpha(u), self.schedule.sigma(u)) for u in (t, s))
        scale = torch.sqrt(
            (alpha_s**2 * self.variances + sigma_s**2) / (alpha_t**2 * self.variances + sigma_t**2)
        ).unsqueeze(0)
        x_s = alpha_s * self.mean + self._through_modes(x_t.flatten(1) - alpha_t * self.mean, scale)
        return x_s.reshape(x_t.shape)

    def log_density(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """log p(x_t) up to the constant -D / 2 log(2 pi), (B,), for x_t (B, D)."""
        variances = alpha**2 * self.variances + sigma**2
        return -0.5 * (((x_t - alpha * self.mean) @ self.modes) ** 2 / variances + variances.log()).sum(1)

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

    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x_t], (B, D)."""
        log_density = torch.stack([c.log_density(x_t, alpha, sigma) for c in self.components])
        shares = torch.softmax(log_density + self.weights.log()[:, None], dim=0)
        answers = torch.stack([c.posterior_mean(x_t, alpha, sigma) for c in self.components])
        return (shares[..., None] * answers).sum(0)
