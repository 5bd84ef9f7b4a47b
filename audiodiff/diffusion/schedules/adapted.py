"""Schedules fitted to the length and the redundancy of signals.

Noise hides a slow feature less the more samples the feature spans: the mean of n samples carries noise of variance
sigma^2 / n. What looks destroyed in a short signal is plain in a long or oversampled one, so a schedule that suits the
one is too mild for the other. There are two remedies, and they are the same process in other units. Adding a
constant to log_snr at every t (Hoogeboom et al., "Simple Diffusion", arXiv 2301.11093),

    log_snr'(t) = log_snr(t) + shift,   shift = log(reference size / size),

with size the number of values that share a feature: (64 / d)^2 for images of side d, hence their 2 log(64 / d), and
the ratio of lengths or sample rates for a waveform. Or scaling the clean signal (Chen, "On the Importance of Noise
Scheduling for Diffusion Models", arXiv 2301.10972),

    x_t = alpha factor x0 + sigma noise,

whose log_snr is shifted by 2 log(factor) and whose x_t / scale is that of the shifted schedule.
"""

import math

from torch import Tensor

from audiodiff.diffusion.schedules.schedule import Schedule, VariancePreserving


class ShiftedLogSNR(VariancePreserving):
    """The variance preserving schedule with log_snr(t) = that of another schedule + shift.

    With shift 0 it is the variance preserving form of any schedule.

    Args:
        schedule: the schedule to shift.
        shift: added to log_snr; negative for more noise.

    Raises:
        ValueError: shift is not finite.
    """

    def __init__(self, schedule: Schedule, shift: float):
        if not math.isfinite(shift):
            raise ValueError(f"shift must be a finite number, got {shift}")
        self.schedule = schedule
        self.shift = shift
        self.t_max = schedule.t_max

    def _log_snr(self, t: Tensor) -> Tensor:
        return self.schedule.log_snr(t) + self.shift

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return self.schedule.t_from_log_snr(log_snr - self.shift)


class ScaledInput(Schedule):
    """alpha(t) = factor times that of another schedule, sigma(t) unchanged: the process of factor * x0.

    At t = 0 the state is alpha(0) x0 = factor * x0; samplers divide by alpha(0) at the end.

    Args:
        schedule: signal and noise for data of scale 1.
        factor: > 0; below 1 for more noise.

    Raises:
        ValueError: factor is not a finite number > 0.
    """

    def __init__(self, schedule: Schedule, factor: float):
        if not 0 < factor < math.inf:
            raise ValueError(f"factor must be a finite number > 0, got {factor}")
        self.schedule = schedule
        self.factor = factor
        self.t_max = schedule.t_max

    def _alpha(self, t: Tensor) -> Tensor:
        return self.schedule.alpha(t) * self.factor

    def _sigma(self, t: Tensor) -> Tensor:
        return self.schedule.sigma(t)

    def _log_snr(self, t: Tensor) -> Tensor:
        return self.schedule.log_snr(t) + 2 * math.log(self.factor)

    def _t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        return self.schedule.t_from_log_snr(log_snr - 2 * math.log(self.factor))
