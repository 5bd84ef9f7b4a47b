"""Loss weighting: the weight of the error at each noise level.

A weighting is stated for the squared error of x0 and means the same whatever the network predicts: an `Objective`
converts it to a weight of its own error. In terms of the error of the noise, which is the
x0-error times SNR = alpha^2 / sigma^2, the weights here are

    SNR 1,   min-SNR min(1, gamma / SNR),   truncated SNR max(1, 1 / SNR),   P2 1 / (k + SNR)^gamma,
    sigmoid -1/2 (d log_snr / dt) sigmoid(bias - log_snr),   variational bound -1/2 d log_snr / dt.

The last two include the rate at which uniform times pass through noise levels, so that the expected loss depends on
the schedule only through its two ends. The last is the variational bound: the mean loss is, up to terms that the
network does not enter, at least the negative log-likelihood in nats per dimension (Kingma et al., "Variational
Diffusion Models", arXiv 2107.00630). Kingma and Gao, "Understanding Diffusion Objectives as the ELBO with Simple Data
Augmentation" (arXiv 2303.00848), write all weightings in this form.

A weighting is called with log_snr clamped to +-LOG_SNR_MAX, so that all weights are finite, and with a function that
returns the slope d log_snr / dt of this clamped value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

# Noise levels beyond are clamped, for weights and for the network.
LOG_SNR_MAX = 20.0


Slope = Callable[[], Tensor]
"""() -> d log_snr / dt."""


class Weighting(ABC):
    """Weight of the mean square error of x0."""

    @abstractmethod
    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """The weight, shaped like log_snr.

        Args:
            log_snr: clamped to [-LOG_SNR_MAX, LOG_SNR_MAX].
            slope: returns d log_snr / dt, shaped like log_snr and <= 0.
        """


class SNR(Weighting):
    """The signal-to-noise ratio: every noise error counts the same, as in Ho et al. (arXiv 2006.11239)."""

    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """alpha^2 / sigma^2."""
        return log_snr.exp()


class MinSNR(Weighting):
    """min(SNR, gamma): easy, nearly clean noise levels do not dominate.

    Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (arXiv 2303.09556).

    Args:
        gamma: the bound on the signal-to-noise ratio (power), > 0.

    Raises:
        ValueError: gamma <= 0.
    """

    def __init__(self, gamma: float = 5.0):
        if not gamma > 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = gamma

    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """min(alpha^2 / sigma^2, gamma)."""
        return log_snr.exp().clamp(max=self.gamma)


class TruncatedSNR(Weighting):
    """max(SNR, 1): the error of the noise, but that of x0 where there is more noise than signal.

    Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (arXiv 2202.00512), section 4: the
    estimate of a student at pure noise is a sample, and its error there must count.
    """

    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """max(alpha^2 / sigma^2, 1)."""
        return log_snr.exp().clamp(min=1.0)


class P2(Weighting):
    """SNR / (k + SNR)^gamma: less for the levels at which only imperceptible detail is left to remove.

    Choi et al., "Perception Prioritized Training of Diffusion Models" (arXiv 2204.00227).

    Args:
        k: signal-to-noise ratio (power) above which weights fall, >= 0.
        gamma: how fast they fall, >= 0; 0 is `SNR`.

    Raises:
        ValueError: either is negative.
    """

    def __init__(self, k: float = 1.0, gamma: float = 1.0):
        if not (k >= 0 and gamma >= 0):
            raise ValueError(f"k and gamma must not be negative, got {k} and {gamma}")
        self.k = k
        self.gamma = gamma

    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """SNR / (k + SNR)^gamma."""
        snr = log_snr.exp()
        return snr / (self.k + snr) ** self.gamma


class SigmoidWeighting(Weighting):
    """The variational bound's weight times sigmoid(bias - log_snr): a bound on noisy data, without its finest detail.

    Kingma and Gao (arXiv 2303.00848); for high resolutions Hoogeboom et al., "Simpler Diffusion" (arXiv 2410.19324).

    Args:
        bias: the log-SNR at which the weight is half the bound's. `VariationalBound` is its limit for a large bias.
    """

    def __init__(self, bias: float = 2.0):
        self.bias = bias

    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """-1/2 (d SNR / dt) sigmoid(bias - log_snr)."""
        return -0.5 * slope() * log_snr.exp() * torch.sigmoid(self.bias - log_snr)


class VariationalBound(Weighting):
    """-1/2 d SNR / dt: the bound on the negative log-likelihood, in nats per dimension (arXiv 2107.00630)."""

    def __call__(self, log_snr: Tensor, slope: Slope) -> Tensor:
        """-1/2 d SNR / dt = -1/2 SNR d log_snr / dt."""
        return -0.5 * slope() * log_snr.exp()
