"""How much signal and noise there is at time t.

A schedule is a pair of functions alpha(t) and sigma(t) on [0, 1] whose ratio sigma / alpha rises: x_t = alpha x0 + sigma
noise. t = 0 is pure data: sigma = 0 and log_snr = +inf. t = 1 may be pure noise: alpha = 0 and log_snr = -inf. Where
alpha^2 + sigma^2 = 1, x_t has unit variance wherever x0 has (variance preserving); in general its standard deviation is
then scale(t) = sqrt(alpha^2 + sigma^2), and x_t / scale is the variance preserving process of the same log_snr.
Everything is computed in float64, whatever the dtype of t, because log_snr loses all its digits in float32 near both
ends.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """The schedule at one time, as float64 numbers."""

    alpha: float
    sigma: float
    log_snr: float

    @property
    def scale(self) -> float:
        """Standard deviation of x_t for data of unit variance."""
        return math.hypot(self.alpha, self.sigma)


def _in_float64(function: Callable[[Tensor], Tensor], value: Tensor | float, dtype: torch.dtype | None) -> Tensor:
    """`function` of `value`, computed in float64, handed out in `dtype`, else in that of `value`."""
    given = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    return function(given.double()).to(dtype or given.dtype)


def _check_times(t: Tensor | float) -> None:
    """Raise ValueError for times outside [0, 1]; those on a device are taken as they are, to spare a synchronisation."""
    on_device = isinstance(t, Tensor) and t.device.type != "cpu"
    if not on_device and not bool(((given := torch.as_tensor(t)) >= 0).logical_and(given <= 1).all()):
        raise ValueError(f"times must lie in [0, 1], got {given.tolist()}")


class Schedule(ABC):
    """A noise schedule. Every method takes numbers or tensors of any shape and keeps the shape.

    All that take times raise ValueError where one lies outside [0, 1].

    Attributes:
        t_max: the largest usable time.
    """

    t_max: float = 1.0

    def alpha(self, t: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """Amplitude of the signal at t, in t's dtype unless `dtype` is given."""
        _check_times(t)
        return _in_float64(self._alpha, t, dtype)

    def sigma(self, t: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """Amplitude of the noise at t, in t's dtype unless `dtype` is given."""
        _check_times(t)
        return _in_float64(self._sigma, t, dtype)

    def log_snr(self, t: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """log(alpha^2 / sigma^2): +inf where sigma = 0, -inf where alpha = 0."""
        _check_times(t)
        return _in_float64(self._log_snr, t, dtype)

    def half_log_snr(self, t: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """log(alpha / sigma), the lambda of the DPM-Solver papers."""
        _check_times(t)
        return _in_float64(lambda t: self._log_snr(t) / 2, t, dtype)

    def scale(self, t: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """sqrt(alpha^2 + sigma^2): the standard deviation of x_t where x0 has 1. Noise times scale(t) starts a sampler."""
        _check_times(t)
        return _in_float64(lambda t: torch.hypot(self._alpha(t), self._sigma(t)), t, dtype)

    @torch.compiler.assume_constant_result
    def level(self, t: float) -> Level:
        """The schedule at one time, as numbers; a constant to `torch.compile`."""
        return Level(float(self.alpha(t)), float(self.sigma(t)), float(self.log_snr(t)))

    def t_from_log_snr(self, log_snr: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """The time of a log_snr, the inverse of `log_snr`."""
        return _in_float64(self._t_from_log_snr, log_snr, dtype)

    @abstractmethod
    def _alpha(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def _sigma(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_snr(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor: ...


class Cosine(Schedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), exact at both ends: t = 1 is pure noise, t = 0 pure data.

    The continuous cosine schedule without offset of Salimans and Ho, "Progressive Distillation for Fast Sampling of
    Diffusion Models" (arXiv 2202.00512), after Nichol and Dhariwal (arXiv 2102.09672).
    """

    def _alpha(self, t: Tensor) -> Tensor:
        # sin of the complement and not cos: cos(pi / 2) is 6e-17 in float64, sin(0) is 0.
        return torch.sin((1 - t) * (math.pi / 2))

    def _sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t * (math.pi / 2))

    def _log_snr(self, t: Tensor) -> Tensor:
        return 2 * torch.log(self._alpha(t) / self._sigma(t))

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)


class LinearBeta(Schedule):
    """The continuous variance preserving process with beta(t) = beta_min + t (beta_max - beta_min).

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (arXiv 2011.13456), eq. 33:
    log alpha = -t beta_min / 2 - t^2 (beta_max - beta_min) / 4. At t = 1 a little signal is left (log_snr = -10.05 with
    the default arguments).

    Args:
        beta_min: noise rate at t = 0, > 0.
        beta_max: noise rate at t = 1, >= beta_min.

    Raises:
        ValueError: not 0 < beta_min <= beta_max.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        if not 0 < beta_min <= beta_max:
            raise ValueError(f"beta_min and beta_max need 0 < beta_min <= beta_max, got {beta_min} and {beta_max}")
        self.beta_min = beta_min
        self.beta_max = beta_max

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -t * self.beta_min / 2 - t**2 * (self.beta_max - self.beta_min) / 4

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self._log_alpha(t))

    def _sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self._log_alpha(t)))

    def _log_snr(self, t: Tensor) -> Tensor:
        return 2 * (self._log_alpha(t) - torch.log(self._sigma(t)))

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        # -2 log alpha = log(1 + exp(-log_snr)) is a quadratic in t; this root's form also holds where the quadratic
        # term vanishes, and loses no digits near t = 0.
        decay = torch.logaddexp(-log_snr, torch.zeros_like(log_snr))
        return 2 * decay / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * decay))
