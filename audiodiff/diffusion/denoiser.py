"""A network wrapped so that it answers E[x0 | x_t].

Samplers, guidance and oracles meet in this one contract, `denoiser(x_t, t, cond) -> E[x0 | x_t]` with
`denoiser.schedule` and `denoiser.t_max`: what the network predicts is nobody else's business. The network itself is
asked at a noise level, not at a time (`network(x_t, log_snr, cond)`), so that a trained network outlives its schedule.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedule import Schedule

# A network that predicts noise starts here: below, dividing by alpha makes more error than there is signal.
EPSILON_LOG_SNR_MIN = -10.0
# What a network is told stays finite and within the range of its embedding.
NETWORK_LOG_SNR_MAX = 20.0


class Losses(NamedTuple):
    """What a training step needs of one batch."""

    loss: Tensor
    """(B,) weighted mean square error per clip."""
    x0_hat: Tensor
    """(B, C, T) the estimate of the clean signal, for losses on signals."""
    x_t: Tensor
    """(B, C, T) what the network saw."""


class Denoiser(nn.Module):
    """The network, the schedule and the objective as one function, E[x0 | x_t].

    Args:
        network: `(x_t (B, C, T), log_snr (B,), cond) -> like x_t`; log_snr comes clamped to [-20, 20].
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
        return min(self.schedule.t_max, float(self.schedule.t_from_log_snr(EPSILON_LOG_SNR_MIN)))

    def forward(self, x_t: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
        """E[x0 | x_t], (B, C, T) in x_t's dtype.

        Args:
            x_t: (B, C, T) noisy signals.
            t: one time for all clips, a number or a scalar tensor, or (B,). A number costs no device synchronisation.
            cond: handed to the network as it is.

        Raises:
            ValueError: the objective is `Epsilon` and alpha(t) = 0.
        """
        alpha, sigma = self._amplitudes(t, x_t)
        return self.objective.x0(self._predict(x_t, t, cond), x_t, alpha, sigma)

    def loss(self, x0: Tensor, noise: Tensor, t: Tensor | float, cond: Any = None) -> Losses:
        """The training loss of a batch at the times t.

        Args:
            x0: (B, C, T) clean signals.
            noise: (B, C, T) standard normal.
            t: (B,) times, or one for all clips.
            cond: handed to the network; if it has `samples` (B,), positions from there on do not count.

        Raises:
            ValueError: the objective is `Epsilon` and alpha is 0 at one of the times.
        """
        alpha, sigma = self._amplitudes(t, x0)
        x_t = alpha * x0 + sigma * noise
        prediction = self._predict(x_t, t, cond)
        error = (prediction - self.objective.target(x0, noise, alpha, sigma)).square()
        weight = self.objective.loss_weight(alpha, sigma).to(error).flatten()
        loss = weight * _mean_per_clip(error, getattr(cond, "samples", None))
        return Losses(loss, self.objective.x0(prediction, x_t, alpha, sigma), x_t)

    def _predict(self, x_t: Tensor, t: Tensor | float, cond: Any) -> Tensor:
        log_snr = self.schedule.log_snr(t, torch.float64).clamp(-NETWORK_LOG_SNR_MAX, NETWORK_LOG_SNR_MAX)
        if log_snr.ndim == 0 and log_snr.device.type == "cpu":
            # Filled, not copied: the only way to bring a number to a device under CUDA graph capture.
            levels = x_t.new_full((len(x_t),), float(log_snr))
        else:
            levels = log_snr.to(x_t).expand(len(x_t))
        # The network may run in bfloat16; the state does not.
        return self.network(x_t, levels, cond).to(x_t.dtype)

    def _amplitudes(self, t: Tensor | float, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma that broadcast against `like`: scalars that stay on the CPU, or (B, 1, 1)."""
        alpha, sigma = self.schedule.alpha(t, torch.float64), self.schedule.sigma(t, torch.float64)
        if alpha.ndim == 0:
            return alpha, sigma
        shape = (-1,) + (1,) * (like.ndim - 1)
        return alpha.to(like).reshape(shape), sigma.to(like).reshape(shape)


def _mean_per_clip(error: Tensor, samples: Tensor | None) -> Tensor:
    """Mean of error (B, C, T) over channels and the first `samples` (B,) positions of each clip: (B,)."""
    if samples is None:
        return error.flatten(1).mean(1)
    valid = torch.arange(error.shape[-1], device=error.device) < samples.to(error.device)[:, None, None]
    return (error * valid).flatten(1).sum(1) / valid.expand_as(error).flatten(1).sum(1).clamp(min=1)
