"""What the network predicts, and how its error is weighted.

With x_t = alpha x0 + sigma noise and alpha^2 + sigma^2 = 1, knowing one of noise, x0 and v = alpha noise - sigma x0
beside x_t is knowing all of them:

    x0 = (x_t - sigma noise) / alpha = alpha x_t - sigma v.

The first form divides by alpha, so a network that predicts noise says nothing about x0 where alpha = 0. An objective's
own mean square error is the x0-error times alpha^2 / sigma^2 (epsilon), 1 (x0) or 1 / sigma^2 (v): a weighting stated
for the x0-error, as min-SNR is, is divided by this factor, and then means the same to all three.

Here alpha and sigma are tensors that broadcast against the signals.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class MinSNR:
    """min(SNR, gamma) on the x0-error: easy, nearly clean noise levels do not dominate.

    Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (arXiv 2303.09556).

    Args:
        gamma: the bound on the signal-to-noise ratio (power), > 0.
    """

    def __init__(self, gamma: float = 5.0):
        if not gamma > 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = gamma

    def __call__(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Weight of the x0-error, shaped like alpha; finite at both ends."""
        return (alpha / sigma).square().clamp(max=self.gamma)


class Objective(ABC):
    """What the network predicts.

    Args:
        weighting: weight of the mean square error stated for the x0-error; None weighs the objective's own error by 1.

    Attributes:
        starts_at_noise: whether the prediction still determines x0 where alpha = 0.
    """

    starts_at_noise: bool = True

    def __init__(self, weighting: MinSNR | None = None):
        self.weighting = weighting

    @abstractmethod
    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network should answer for x_t = alpha x0 + sigma noise."""

    @abstractmethod
    def x0(self, prediction: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The clean signal that a prediction stands for."""

    def loss_weight(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Weight of the mean square error of this objective's own prediction, shaped like alpha."""
        if self.weighting is None:
            return torch.ones_like(alpha)
        return self.weighting(alpha, sigma) * self._x0_error(alpha, sigma)

    @abstractmethod
    def _x0_error(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Square error of x0 per square error of the prediction."""


class Epsilon(Objective):
    """The network predicts the noise. Ho et al., "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), eq. 14.

    `x0` and a weighted `loss_weight` raise ValueError where alpha = 0.
    """

    starts_at_noise = False

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The noise itself."""
        return noise

    def x0(self, prediction: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """(x_t - sigma prediction) / alpha."""
        self._refuse_pure_noise(alpha)
        return (x_t - sigma * prediction) / alpha

    def _x0_error(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        self._refuse_pure_noise(alpha)
        return (sigma / alpha).square()

    @staticmethod
    def _refuse_pure_noise(alpha: Tensor) -> None:
        if bool((alpha == 0).any()):
            raise ValueError("a predicted noise does not determine x0 where alpha = 0: start at the denoiser's t_max")


class X0(Objective):
    """The network predicts the clean signal."""

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The clean signal itself."""
        return x0

    def x0(self, prediction: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The prediction itself."""
        return prediction

    def _x0_error(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.ones_like(alpha)


class V(Objective):
    """The network predicts v = alpha noise - sigma x0.

    Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (arXiv 2202.00512), section 4.
    """

    def target(self, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Alpha noise - sigma x0."""
        return alpha * noise - sigma * x0

    def x0(self, prediction: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Alpha x_t - sigma prediction."""
        return alpha * x_t - sigma * prediction

    def _x0_error(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma.square()
