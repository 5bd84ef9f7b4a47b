"""Noise schedules: signal and noise at time t.

A schedule is a pair of functions alpha(t) and sigma(t) on [0, 1] whose ratio sigma / alpha rises: x_t = alpha x0 +
sigma noise. t = 0 is data: sigma = 0 and log_snr = +inf (but for a learned schedule, which keeps a trace of noise
there). t = 1 may be pure noise: alpha = 0 and log_snr = -inf. Where alpha^2 + sigma^2 = 1, x_t has unit variance
wherever x0 has (variance preserving); in general its standard deviation is then scale(t) = sqrt(alpha^2 + sigma^2), and
x_t / scale is the variance preserving process of the same log_snr. Everything is computed in float64, whatever the
dtype of t, because log_snr loses all its digits in float32 near both ends.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.precision import double

# exp of more than this overflows in float64.
STEEPEST_SIGMOID = 700.0


class Level(NamedTuple):
    """The schedule at one time, as float64 numbers."""

    alpha: float
    sigma: float
    log_snr: float
    t: float

    @property
    def scale(self) -> float:
        """Standard deviation of x_t for data of unit variance."""
        return math.hypot(self.alpha, self.sigma)


def _in_float64(function: Callable[[Tensor], Tensor], value: Tensor | float, dtype: torch.dtype | None) -> Tensor:
    """`function` of `value`, computed in float64, returned in `dtype`, else in that of `value`.

    On the device of `value`; in float64 on the CPU if that has no float64.
    """
    tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    result, dtype = function(double(tensor)), dtype or tensor.dtype
    return result if dtype == torch.float64 else result.to(tensor.device, dtype)


def _check_times(t: Tensor | float) -> None:
    """Raise ValueError for times outside [0, 1]; not checked on a device, which would have to synchronize."""
    on_device = isinstance(t, Tensor) and t.device.type != "cpu"
    if not on_device and not bool(((times := torch.as_tensor(t)) >= 0).logical_and(times <= 1).all()):
        raise ValueError(f"times must lie in [0, 1], got {times.tolist()}")


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
        """sqrt(alpha^2 + sigma^2), the standard deviation of x_t where x0 has 1. Samplers start from noise times it."""
        _check_times(t)
        return _in_float64(lambda t: torch.hypot(self._alpha(t), self._sigma(t)), t, dtype)

    def level(self, t: float) -> Level:
        """The schedule at one time, as numbers; a constant to `torch.compile`."""
        if torch.compiler.is_compiling():
            from audiodiff.diffusion.schedules import compilation  # noqa: F401
        return self._level(t)

    def _level(self, t: float) -> Level:
        with torch.no_grad():
            return Level(float(self.alpha(t)), float(self.sigma(t)), float(self.log_snr(t)), float(t))

    def levels(self, grid: Tensor) -> list[Level]:
        """The schedule at each time of a grid (N,)."""
        columns = (self.alpha(grid), self.sigma(grid), self.log_snr(grid), grid)
        return [Level(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def t_from_log_snr(self, log_snr: Tensor | float, dtype: torch.dtype | None = None) -> Tensor:
        """The time of a log_snr, the inverse of `log_snr`; outside of the schedule's range, the nearer end."""

        def invert(log_snr: Tensor) -> Tensor:
            last, first = self._log_snr(log_snr.new_tensor([1.0, 0.0]))
            # By rounding an inverse may fall outside [0, 1], which every method refuses.
            return self._t_from_log_snr(log_snr.clamp(last, first)).clamp(0, 1)

        return _in_float64(invert, log_snr, dtype)

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


class OffsetCosine(Schedule):
    """alpha = cos(angle(t)) / cos(angle(0)), angle(t) = (pi / 2) (t + offset) / (1 + offset), variance preserving.

    Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (arXiv 2102.09672): the offset keeps the
    noise of a chain's first steps from being too small. `Cosine` is its limit at offset 0.

    Args:
        offset: > 0 and <= 1.

    Raises:
        ValueError: not 0 < offset <= 1.
    """

    def __init__(self, offset: float = 0.008):
        if not 0 < offset <= 1:
            raise ValueError(f"offset needs 0 < offset <= 1 (at 0 it would be Cosine), got {offset}")
        self.offset = offset
        # Angles are counted from pi / 2 down: t = 1 is then 0 exactly, and t = 0 is the width.
        self._width = math.pi / 2 / (1 + offset)

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.sin((1 - t) * self._width) / math.sin(self._width)

    def _sigma(self, t: Tensor) -> Tensor:
        # sin(w)^2 - sin(w - x)^2 = sin(x) sin(2 w - x), and sin(2 w - x) = sin(pi - 2 w + x): no digits are lost near
        # t = 0. The same expression at t = 1 divides, so that sigma(1) is 1 to the last bit.
        def square(x: Tensor) -> Tensor:
            return torch.sin(x) * torch.sin(math.pi - 2 * self._width + x)

        return torch.sqrt(square(t * self._width) / square(torch.full_like(t, self._width)))

    def _log_snr(self, t: Tensor) -> Tensor:
        return 2 * torch.log(self._alpha(t) / self._sigma(t))

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        # With b = w - t w the angle at t, sin(b) = alpha sin(w): sine and cosine of the difference t w = w - b, the
        # sine in a form that loses no digits near t = 0.
        variance = torch.sigmoid(-log_snr)
        signal = torch.sqrt(torch.sigmoid(log_snr))
        sin, cos = math.sin(self._width), math.cos(self._width)
        cos_b = torch.sqrt(cos**2 + variance * sin**2)
        return torch.atan2(sin * variance / (cos_b + signal * cos), cos * cos_b + sin**2 * signal) / self._width


class NoiseRate(Schedule):
    """Variance preserving with alpha^2 = exp(-decay(t)), where decay is the integral of a noise rate beta(t) >= 0."""

    @abstractmethod
    def _decay(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def _t_from_decay(self, decay: Tensor) -> Tensor: ...

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self._decay(t) / 2)

    def _sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self._decay(t)))

    def _log_snr(self, t: Tensor) -> Tensor:
        decay = self._decay(t)
        return -decay - torch.log(-torch.expm1(-decay))

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return self._t_from_decay(torch.logaddexp(-log_snr, torch.zeros_like(log_snr)))


class LinearBeta(NoiseRate):
    """The continuous variance preserving process with beta(t) = beta_min + t (beta_max - beta_min).

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (arXiv 2011.13456), eq. 33:
    log alpha = -t beta_min / 2 - t^2 (beta_max - beta_min) / 4. At t = 1 a little signal is left (log_snr = -10.05 with
    the default arguments).

    Args:
        beta_min: noise rate at t = 0, > 0.
        beta_max: noise rate at t = 1, >= beta_min.

    Raises:
        ValueError: not 0 < beta_min <= beta_max < inf.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        if not 0 < beta_min <= beta_max < math.inf:
            raise ValueError(f"beta_min and beta_max need 0 < beta_min <= beta_max, got {beta_min} and {beta_max}")
        self.beta_min = beta_min
        self.beta_max = beta_max

    def _decay(self, t: Tensor) -> Tensor:
        return t * self.beta_min + t**2 * (self.beta_max - self.beta_min) / 2

    def _t_from_decay(self, decay: Tensor) -> Tensor:
        # This root's form of the quadratic also holds where the quadratic term vanishes, and loses no digits near 0.
        return 2 * decay / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * decay))


class SubVP(LinearBeta):
    """alpha as in `LinearBeta` and sigma = 1 - alpha^2: at all times less noise than the variance preserving process.

    Song et al. (arXiv 2011.13456), the sub-VP SDE. Arguments and errors are those of `LinearBeta`.
    """

    def _sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self._decay(t))

    def _log_snr(self, t: Tensor) -> Tensor:
        decay = self._decay(t)
        return -decay - 2 * torch.log(-torch.expm1(-decay))

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        # sigma / alpha = 1 / alpha - alpha = 2 sinh(decay / 2).
        return self._t_from_decay(2 * torch.asinh(torch.exp(-log_snr / 2) / 2))


class VarianceExploding(Schedule):
    """alpha = 1 and sigma^2 = sigma_min^2 ((sigma_max / sigma_min)^(2 t) - 1).

    The exact marginal of the variance exploding SDE of Song et al. (arXiv 2011.13456), dx = sigma_min (sigma_max /
    sigma_min)^t sqrt(2 log(sigma_max / sigma_min)) dw, which adds nothing at t = 0. The level that their network
    is conditioned on, sigma_min (sigma_max / sigma_min)^t, is sqrt(sigma^2 + sigma_min^2).

    Args:
        sigma_min: > 0, in units of the data.
        sigma_max: > sigma_min.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max < inf.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        if not 0 < sigma_min < sigma_max < math.inf:
            raise ValueError(f"sigma_min and sigma_max need 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self._growth = 2 * math.log(sigma_max / sigma_min)

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def _sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.sqrt(torch.expm1(t * self._growth))

    def _log_snr(self, t: Tensor) -> Tensor:
        return -2 * torch.log(self._sigma(t))

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return torch.log1p(torch.exp(-log_snr) / self.sigma_min**2) / self._growth


class RectifiedFlow(Schedule):
    """alpha = 1 - t, sigma = t: the straight line from data to noise.

    Liu et al., "Flow Straight and Fast" (arXiv 2209.03003); Lipman et al., "Flow Matching for Generative Modeling"
    (arXiv 2210.02747), whose time runs the other way.
    """

    def _alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def _sigma(self, t: Tensor) -> Tensor:
        return t.clone()

    def _log_snr(self, t: Tensor) -> Tensor:
        return 2 * torch.log((1 - t) / t)

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


class VariancePreserving(Schedule):
    """Given by its log_snr alone: alpha^2 = sigmoid(log_snr) and sigma^2 = sigmoid(-log_snr)."""

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.sqrt(torch.sigmoid(self._log_snr(t)))

    def _sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(torch.sigmoid(-self._log_snr(t)))


class Sigmoid(VariancePreserving):
    """sigma^2 rises from 0 to 1 like the sigmoid function between start / tau and end / tau.

    With u = start + t (end - start) and s = sigmoid(. / tau), alpha^2 = (s(end) - s(u)) / (s(end) - s(start)): Jabri et
    al., "Scalable Adaptive Computation for Iterative Generation" (arXiv 2212.11972), without their clipping, so that t
    = 1 is pure noise.

    Args:
        start: where on the sigmoid t = 0 lies.
        end: where t = 1 lies, > start.
        tau: temperature, > 0; smaller is steeper.

    Raises:
        ValueError: start >= end, tau <= 0, or a schedule too steep for float64 ((end - start) / tau > 700).
    """

    def __init__(self, start: float = -3.0, end: float = 3.0, tau: float = 1.0):
        if not (-math.inf < start < end < math.inf and 0 < tau < math.inf):
            raise ValueError(f"start, end and tau need start < end and tau > 0, got {start}, {end} and {tau}")
        self.start = start
        self.end = end
        self.tau = tau
        self._width = (end - start) / tau
        if self._width > STEEPEST_SIGMOID:
            raise ValueError(f"(end - start) / tau must be <= {STEEPEST_SIGMOID:g}, got {self._width:g}: raise tau")
        ends = torch.tensor([end / tau, start / tau], dtype=torch.float64)
        self._offset = float(-torch.nn.functional.logsigmoid(-ends).diff())

    def _log_snr(self, t: Tensor) -> Tensor:
        # Differences of sigmoids as products, sigmoid(a) - sigmoid(b) = (e^(a - b) - 1) sigmoid(b) sigmoid(-a), so that
        # no digits are lost near either end.
        rise, fall = torch.expm1(t * self._width), -torch.expm1((t - 1) * self._width)
        return torch.log(fall / rise) + self._width + self._offset

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return torch.log1p(math.expm1(self._width) / (1 + torch.exp(log_snr - self._offset))) / self._width
