"""The posterior of a step from t to an earlier time s, and networks that also predict its variance.

With r = 1 - SNR_t / SNR_s, the posterior q(x_s | x_t, x0) is Gaussian with

    mean = (alpha_t sigma_s^2) / (alpha_s sigma_t^2) x_t + alpha_s r x0,   variance small = sigma_s^2 r.

Where x0 is only estimated, x_s scatters more: the variance of q(x_s | x_t) lies between small, right where x0 is a
point, and large = sigma_t^2 r, that of q(x_t | x_s), right where x0 is standard normal and variance is preserved.
Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (arXiv 2102.09672), let the network predict it,

    log variance = fraction log large + (1 - fraction) log small      (eq. 15),

and add a small multiple of the variational bound to the loss of the mean, with the gradient to the mean stopped: KL
divergences from q(x_s | x_t, x0) to the model's step. The last step, to sigma_s = 0, adds no noise and has no
divergence.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from audiodiff.diffusion.clips import Amplitude, combine
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.weighting import Weighting


class HasLevel(Protocol):
    """Signal and noise at a time, or at the times of a batch."""

    @property
    def alpha(self) -> Amplitude:
        """Amplitude of the signal."""

    @property
    def sigma(self) -> Amplitude:
        """Amplitude of the noise."""

    @property
    def log_snr(self) -> Amplitude:
        """log(alpha^2 / sigma^2)."""


class Posterior(NamedTuple):
    """q(x_s | x_t, x0) and the bounds on the variance of q(x_s | x_t), as numbers or broadcasting tensors."""

    carry: Amplitude
    """Factor of x_t in the mean."""
    gain: Amplitude
    """Factor of x0 in the mean."""
    log_small: Amplitude
    """log(sigma_s^2 r), -inf where sigma_s = 0."""
    log_large: Amplitude
    """log(sigma_t^2 r)."""

    @classmethod
    def between(cls, t: HasLevel, s: HasLevel) -> "Posterior":
        """The step from the noisier level t to s; both of numbers or both of tensors. alpha_t and sigma_s may be 0."""
        change = t.log_snr - s.log_snr
        drop = -(torch.expm1(change) if isinstance(change, Tensor) else math.expm1(change))
        carry = t.alpha * s.sigma**2 / (s.alpha * t.sigma**2)
        return cls(carry, s.alpha * drop, _log(s.sigma**2 * drop), _log(t.sigma**2 * drop))

    def mean(self, x_t: Tensor, x0: Tensor) -> Tensor:
        """The mean of x_s, like x_t."""
        return combine((self.carry, self.gain), (x_t, x0))

    def log_variance(self, fraction: Tensor) -> Tensor:
        """The logarithm of the variance of x_s, like fraction; -inf where sigma_s = 0."""
        small, span, pure = self._bounds(fraction)
        return (small + fraction * span).masked_fill(pure, -math.inf)

    def divergence(self, x0: Tensor, x0_hat: Tensor, fraction: Tensor) -> Tensor:
        """KL divergence from q(x_s | x_t, x0) to the step that x0_hat and fraction make; nats of each sample.

        Args:
            x0: (B, C, T) clean signals.
            x0_hat: (B, C, T) their estimates.
            fraction: (B, C, T) position of the log variance between small (0) and large (1).

        Returns:
            Like x0; 0 where sigma_s = 0.
        """
        small, span, pure = self._bounds(fraction)
        above = fraction * span
        error = combine((self.gain, -self.gain), (x0, x0_hat)).square()
        divergence = 0.5 * (above - 1 + torch.exp(-above) + error * torch.exp(-small - above))
        return divergence.masked_fill(pure, 0.0)

    def _bounds(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log small, log large - log small, and where sigma_s = 0; finite there too, so that gradients are."""
        small, large = _like(self.log_small, like), _like(self.log_large, like)
        pure = torch.isneginf(small)
        small = torch.where(pure, large, small)
        return small, large - small, pure


def _log(value: Amplitude) -> Amplitude:
    if isinstance(value, Tensor):
        return value.log()
    return math.log(value) if value > 0 else -math.inf


def _like(value: Amplitude, signal: Tensor) -> Tensor:
    # Filled, not copied: the only way to bring a number to a device under CUDA graph capture.
    return value.to(signal) if isinstance(value, Tensor) else signal.new_full((), value)


class LearnedVariance(Objective):
    """A network with 2C output channels: C for the objective inside, and C for the variance of a step.

    The last C are 2 fraction - 1: 0 is the geometric mean of small and large.

    Args:
        objective: of the first C channels, with its weighting.
        steps: number of steps of the chain whose bound is added to the loss.
        bound: weight of the variational bound in nats per dimension, the sum of its terms.
        weighting: of the mean's error; None: the objective's own.

    Raises:
        ValueError: fewer than two steps or a negative weight.
    """

    outputs = 2

    def __init__(
        self, objective: Objective, steps: int = 1000, bound: float = 0.001, weighting: Weighting | None = None
    ):
        if steps < 2 or not bound >= 0:
            raise ValueError(f"the bound needs at least 2 steps and a weight >= 0, got {steps} and {bound}")
        super().__init__(weighting or objective.weighting)
        self.objective = objective
        self.steps = steps
        self.bound = bound
        self.starts_at_noise = objective.starts_at_noise

    def split(self, output: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """The prediction and the variance's fraction, each (B, C, T), of an output (B, 2C, T).

        Raises:
            ValueError: the output does not have 2C channels.
        """
        if output.shape[1] != 2 * channels:
            raise ValueError(
                f"a learned variance of {channels} channels needs a network with {2 * channels} outputs, "
                f"got {output.shape[1]}"
            )
        prediction, fraction = output.chunk(2, dim=1)
        return prediction, (fraction + 1) / 2

    def prediction(self, x0: Tensor, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """As the objective inside."""
        return self.objective.prediction(x0, x_t, alpha, sigma)

    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return self.objective._parts(alpha, sigma)

    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return self.objective._solution(alpha, sigma)
