"""A network wrapped so that it estimates E[x0 | x_t].

Samplers, guidance and oracles share one interface, `denoiser(x_t, t, cond) -> E[x0 | x_t]` with `denoiser.schedule`,
and `denoiser.t_max` where that is not the schedule's; only the denoiser knows what its network predicts. The network is
conditioned on the noise level, not on the time, and sees a signal of unit variance, `network(x_t / scale, log_snr,
cond)`, so a trained network can be used with another schedule.

Times are numbers (samplers) or (B,) tensors (training). At a number the schedule is evaluated as numbers too: nothing
is copied to a device, and they are constants to `torch.compile`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from audiodiff.diffusion.clips import check_clips, check_output, clip_mean
from audiodiff.diffusion.objective import Objective, amplitude_scale
from audiodiff.diffusion.schedules.schedule import Level, Schedule
from audiodiff.diffusion.variance import LearnedVariance, Posterior
from audiodiff.diffusion.weighting import LOG_SNR_MAX
from audiodiff.precision import float64_device

# Where a network that predicts noise starts: below, the division by alpha amplifies its error beyond the signal.
EPSILON_LOG_SNR_MIN = -10.0


class Levels(NamedTuple):
    """The schedule at the times of a batch, as float64 tensors (B, 1, ...)."""

    alpha: Tensor
    sigma: Tensor
    log_snr: Tensor


class Losses(NamedTuple):
    """The loss of a batch, and what losses on signals need."""

    loss: Tensor
    """(B,) the loss of each clip."""
    x0_hat: Tensor
    """(B, C, T) the estimate of the clean signal, for losses on signals."""
    x_t: Tensor
    """(B, C, T) the noisy signal."""
    log_snr: Tensor
    """(B,) its log-SNR, clamped as for the network."""


class Denoiser(nn.Module):
    """The network, the schedule and the objective as one function, E[x0 | x_t].

    Args:
        network: `(x_t / scale (B, C, T), log_snr (B,), cond) -> like x_t`, or (B, 2C, T) if the objective is a
            `LearnedVariance`; log_snr comes clamped to [-20, 20].
        schedule: signal and noise at t.
        objective: what the network predicts.
    """

    def __init__(
        self, network: Callable[[Tensor, Tensor, Any], Tensor], schedule: Schedule, objective: Objective
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.objective = objective

    @property
    def t_max(self) -> float:
        """The time to start from: the schedule's, or where log_snr = -10 if the objective cannot start at alpha = 0."""
        if self.objective.starts_at_noise:
            return self.schedule.t_max
        with torch.no_grad():
            return min(self.schedule.t_max, float(self.schedule.t_from_log_snr(EPSILON_LOG_SNR_MIN)))

    def forward(self, x_t: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
        """E[x0 | x_t], (B, C, T) in x_t's dtype.

        Args:
            x_t: (B, C, T) noisy signals.
            t: one time for all clips, a number or a scalar tensor, or (B,). A number costs no device synchronization.
            cond: passed to the network unchanged.

        Raises:
            ValueError: a time outside [0, 1], alpha(t) = 0 and the objective is `Epsilon` or `Score`, a condition (a
                tensor, or a dataclass of tensors) of another batch than x_t, or a network that returns another shape
                or other than real floating-point numbers.
        """
        x0, _ = self._estimate(x_t, self._level(t, x_t), cond)
        return x0

    def prepare(self, cond: Any, x_t: Tensor) -> Any:
        """What the network derives from a condition alone, as a condition for calls with signals like x_t."""
        prepare = getattr(self.network, "prepare", None)
        return cond if prepare is None else prepare(cond, x_t)

    def posterior(
        self, x_t: Tensor, t: Tensor | float, s: Tensor | float, cond: Any = None
    ) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance of q(x_s | x_t, x0) at the estimated x0; each (B, C, T).

        The log variance is predicted (`LearnedVariance`; -inf where sigma_s = 0); None without a learned variance.

        Args:
            x_t: (B, C, T) noisy signals.
            t: as in `forward`.
            s: the time of the step's end, below t; a number if t is one.
            cond: passed to the network unchanged.

        Raises:
            ValueError: s is not below t, or as `forward`.
        """
        at_t, at_s = self._level(t, x_t), self._level(s, x_t)
        if isinstance(at_t, Level) and not at_s.log_snr > at_t.log_snr:
            raise ValueError(
                f"a step must go to an earlier time, got one from t = {float(t):.6g} to s = {float(s):.6g}"
            )
        x0, fraction = self._estimate(x_t, at_t, cond)
        step = Posterior.between(at_t, at_s)
        return step.mean(x_t, x0), None if fraction is None else step.log_variance(fraction)

    def loss(
        self,
        x0: Tensor,
        noise: Tensor,
        t: Tensor | float,
        cond: Any = None,
        terms: Sequence[Callable[[Tensor, Tensor, Tensor], Tensor]] = (),
    ) -> Losses:
        """The training loss of a batch at the times t: the objective's weighted mean square error plus `terms`.

        Args:
            x0: (B, C, T) clean signals.
            noise: (B, C, T) standard normal.
            t: (B,) times, or one for all clips.
            cond: passed to the network; if it has `samples` (B,), positions from there on do not count.
            terms: functions (x0_hat (B, C, T), x0 (B, C, T), log_snr (B,)) -> (B,), added to the loss.

        Raises:
            ValueError: as `forward`, and for `Score` where sigma(t) = 0.
        """
        t = t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)
        t = t.to(float64_device(x0.device)).double().expand(len(x0))
        level = self._levels(t, x0)
        alpha, sigma, samples = level.alpha, level.sigma, getattr(cond, "samples", None)
        x_t = alpha.to(x0) * x0 + sigma.to(x0) * noise
        output, log_snr = self._output(x_t, level, cond)
        prediction, fraction = self.objective.split(output, x_t.shape[1])
        error = (prediction - self.objective.target(x0, noise, alpha, sigma)).square()
        weight = self.objective.loss_weight(alpha, sigma, lambda: self._slope(t).reshape(alpha.shape))
        loss = weight.to(error).flatten() * clip_mean(error, samples)
        x0_hat = self.objective.x0(prediction, x_t, alpha, sigma)
        if fraction is not None and isinstance(self.objective, LearnedVariance):
            earlier = self._levels((t - 1 / self.objective.steps).clamp(min=0), x0)
            divergence = Posterior.between(level, earlier).divergence(x0, x0_hat.detach(), fraction)
            loss = loss + self.objective.bound * self.objective.steps * clip_mean(divergence, samples)
        for term in terms:
            loss = loss + term(x0_hat, x0, log_snr)
        return Losses(loss, x0_hat, x_t, log_snr)

    def _estimate(self, x_t: Tensor, level: Level | Levels, cond: Any) -> tuple[Tensor, Tensor | None]:
        """E[x0 | x_t], and the variance's fraction if it is learned."""
        output, _ = self._output(x_t, level, cond)
        prediction, fraction = self.objective.split(output, x_t.shape[1])
        return self.objective.x0(prediction, x_t, level.alpha, level.sigma), fraction

    def _output(self, x_t: Tensor, level: Level | Levels, cond: Any) -> tuple[Tensor, Tensor]:
        """The network's output, and the (B,) log_snr that it was evaluated at."""
        check_clips(cond, x_t)
        scale = amplitude_scale(level.alpha, level.sigma)
        if isinstance(level, Level):
            # Filled, not copied: the only way to bring a number to a device under CUDA graph capture.
            log_snr = x_t.new_full((len(x_t),), min(max(level.log_snr, -LOG_SNR_MAX), LOG_SNR_MAX))
            unit = x_t if math.isclose(float(scale), 1.0) else x_t / scale
        else:
            log_snr = level.log_snr.flatten().clamp(-LOG_SNR_MAX, LOG_SNR_MAX).to(x_t).expand(len(x_t))
            unit = x_t / torch.as_tensor(scale).to(x_t)
        # The network may run in bfloat16; the state does not.
        shape = (len(x_t), self.objective.outputs * x_t.shape[1], *x_t.shape[2:])
        return check_output(self.network(unit, log_snr, cond), shape, x_t.dtype, "the network"), log_snr

    def _level(self, t: Tensor | float, like: Tensor) -> Level | Levels:
        """The schedule at t: numbers at a number, else tensors."""
        if not isinstance(t, Tensor) or (t.ndim == 0 and t.device.type == "cpu"):
            return self.schedule.level(float(t))
        return self._levels(t, like)

    def _levels(self, t: Tensor, like: Tensor) -> Levels:
        """The schedule at times (B,), or one for all clips (), as float64 tensors that broadcast against `like`."""
        shape = (-1,) + (1,) * (like.ndim - 1)
        functions = (self.schedule.alpha, self.schedule.sigma, self.schedule.log_snr)
        alpha, sigma, log_snr = (function(t, torch.float64).reshape(shape) for function in functions)
        return Levels(alpha, sigma, log_snr)

    def _slope(self, t: Tensor) -> Tensor:
        """d log_snr / dt at the times t (B,) in float64, 0 where log_snr is beyond what it is clamped to."""
        # Lightning validates in inference mode, where nothing can be differentiated.
        with torch.inference_mode(False), torch.enable_grad():
            t = t.detach().clone().requires_grad_()
            log_snr = self.schedule.log_snr(t)
            # A learned schedule gets a gradient through its slope, too.
            (slope,) = torch.autograd.grad(log_snr.sum(), t, create_graph=isinstance(self.schedule, nn.Module))
        return torch.where(log_snr.detach().abs() < LOG_SNR_MAX, slope, 0.0)
