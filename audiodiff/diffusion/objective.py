"""What the network predicts.

With x_t = alpha x0 + sigma noise and scale = sqrt(alpha^2 + sigma^2), the standard deviation of x_t for data of unit
variance, an objective is a linear combination of x0 and noise:

    epsilon  noise                              x0 = (x_t - sigma epsilon) / alpha
    x0       x0                                 x0 = x0
    v        (alpha noise - sigma x0) / scale   x0 = (alpha x_t / scale - sigma v) / scale
    score    -noise / sigma                     x0 = (x_t + sigma^2 score) / alpha
    flow     noise - x0                         x0 = (x_t - sigma flow) / (alpha + sigma)

Given x_t, one of them determines all, so conversions go through x0: `b.prediction(a.x0(p, x_t, ...), x_t, ...)`
is the prediction of `b` that corresponds to the prediction p of `a`. The process need not preserve variance: v is that
of x_t / scale, which has the same log_snr, and flow is dx_t / dt where alpha = 1 - t and sigma = t.

Where alpha = 0 a noise or a score does not determine x0; where sigma = 0 x_t does not determine the noise, and the
score is infinite.

An objective's own mean square error becomes that of x0 when multiplied by the square of the second factor in the
right-hand column. A weighting, stated for the x0-error, is multiplied by this square and then means the same for every
objective.

Here alpha and sigma are numbers, or tensors that broadcast against the signals; factors are computed in their precision
and only then brought to the signals' dtype.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from audiodiff.diffusion.clips import Amplitude, combine
from audiodiff.diffusion.weighting import LOG_SNR_MAX, Slope, Weighting


def amplitude_scale(alpha: Amplitude, sigma: Amplitude) -> Amplitude:
    """sqrt(alpha^2 + sigma^2)."""
    return (alpha**2 + sigma**2) ** 0.5


def _refuse_zero(amplitude: Amplitude, problem: str) -> None:
    """Raise ValueError where an amplitude is 0; not checked on a device, which would have to synchronize."""
    if isinstance(amplitude, Tensor):
        zero = amplitude.device.type == "cpu" and bool((amplitude == 0).any())
    else:
        zero = amplitude == 0
    if zero:
        raise ValueError(problem)


def _refuse_pure_noise(alpha: Amplitude) -> None:
    _refuse_zero(alpha, "noise or score do not determine x0 where alpha = 0: start at the denoiser's t_max")


class Objective(ABC):
    """What the network predicts.

    Args:
        weighting: weight of the mean square error stated for the x0-error; None weighs the objective's own error by 1.

    Attributes:
        starts_at_noise: whether the prediction still determines x0 where alpha = 0.
        outputs: output channels of the network for each channel of the signal.
    """

    starts_at_noise: bool = True
    outputs: int = 1

    def __init__(self, weighting: Weighting | None = None):
        self.weighting = weighting

    def target(self, x0: Tensor, noise: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """The regression target for x_t = alpha x0 + sigma noise.

        Raises:
            ValueError: the objective is `Score` and sigma = 0.
        """
        return combine(self._parts(alpha, sigma), (x0, noise))

    def x0(self, prediction: Tensor, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """The clean signal of a prediction.

        Raises:
            ValueError: the objective is `Epsilon` or `Score` and alpha = 0.
        """
        return combine(self._solution(alpha, sigma), (x_t, prediction))

    def prediction(self, x0: Tensor, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """The prediction of a clean signal, the inverse of `x0`.

        Raises:
            ValueError: the objective is not `X0` and sigma = 0.
        """
        _refuse_zero(sigma, "x_t and x0 do not determine the noise where sigma = 0: evaluate at a time above 0")
        of_x0, of_noise = self._parts(alpha, sigma)
        return combine((of_x0 - of_noise * alpha / sigma, of_noise / sigma), (x0, x_t))

    def split(self, output: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
        """The prediction, and the fraction of a learned variance or None, of a network's output for `channels`."""
        return output, None

    def loss_weight(self, alpha: Tensor, sigma: Tensor, slope: Slope = lambda: torch.zeros(())) -> Tensor:
        """Weight of the mean square error of this objective's own prediction, shaped like alpha.

        Args:
            alpha, sigma: amplitudes of signal and noise.
            slope: returns d log_snr / dt shaped like alpha, 0 where |log_snr| is above `LOG_SNR_MAX`; only
                `SigmoidWeighting` and `VariationalBound` call it.

        Raises:
            ValueError: weighted, the objective is `Epsilon` or `Score` and alpha = 0.
        """
        if self.weighting is None:
            return torch.ones_like(alpha)
        log_snr = (2 * torch.log(alpha / sigma)).clamp(-LOG_SNR_MAX, LOG_SNR_MAX)
        return self.weighting(log_snr, slope) * self._solution(alpha, sigma)[1] ** 2

    @abstractmethod
    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        """(a, b) of the prediction a x0 + b noise."""

    @abstractmethod
    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        """(a, b) of x0 = a x_t + b prediction."""


class Epsilon(Objective):
    """The network predicts the noise.

    Ho et al., "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), eq. 14.
    """

    starts_at_noise = False

    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return 0.0, 1.0

    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        _refuse_pure_noise(alpha)
        return 1 / alpha, -sigma / alpha


class X0(Objective):
    """The network predicts the clean signal."""

    def prediction(self, x0: Tensor, x_t: Tensor, alpha: Amplitude, sigma: Amplitude) -> Tensor:
        """The clean signal itself."""
        return x0

    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return 1.0, 0.0

    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return 0.0, 1.0


class V(Objective):
    """The network predicts v = (alpha noise - sigma x0) / scale.

    Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (arXiv 2202.00512), section 4.
    """

    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        scale = amplitude_scale(alpha, sigma)
        return -sigma / scale, alpha / scale

    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        scale = amplitude_scale(alpha, sigma)
        return alpha / scale**2, -sigma / scale


class Score(Objective):
    """The network predicts -noise / sigma, whose mean is the gradient of log p(x_t).

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (arXiv 2011.13456). Its
    error grows without bound towards clean data; weighted by `SNR` it is the noise's.
    """

    starts_at_noise = False

    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        _refuse_zero(sigma, "the score is infinite where sigma = 0: evaluate at a time above 0")
        return 0.0, -1 / sigma

    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        _refuse_pure_noise(alpha)
        return 1 / alpha, sigma**2 / alpha


class Flow(Objective):
    """The network predicts noise - x0, the velocity of the straight line from data to noise.

    Lipman et al., "Flow Matching for Generative Modeling" (arXiv 2210.02747); Liu et al., "Flow Straight and Fast"
    (arXiv 2209.03003), both with time the other way round.
    """

    def _parts(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return -1.0, 1.0

    def _solution(self, alpha: Amplitude, sigma: Amplitude) -> tuple[Amplitude, Amplitude]:
        return 1 / (alpha + sigma), -sigma / (alpha + sigma)
