"""Distillation: what a student that takes few steps regresses to, as functions of denoisers.

A first-order step from time t to time s (DDIM) is linear in the estimate x0 (`samplers.ancestral.first_order_step`),

    x_s = c x_t + (alpha_s - c alpha_t) x0,   c = sigma_s / sigma_t,

so for any x_t and x_s there is one x0 whose step leads from one to the other: `solve_step`. A student that is to do in
one step what its teacher does in two learns that x0 (progressive distillation; Salimans and Ho, arXiv 2202.00512,
algorithm 2). What it learns is an x0 whatever its network predicts.

A consistency function maps every state of a trajectory of the ODE to its end (Song et al., arXiv 2303.01469). It is
learned from pairs of states x_t and x_s of one trajectory: f(x_t, t) regresses to f(x_s, s), which is not
differentiated. x_s is a step of a teacher's ODE from x_t (distillation), or alpha_s x0 + sigma_s z with the x0 and the
noise z of x_t, a step of unbiased direction (training). At t = 0 it is known: f(x_0, 0) = x_0 / alpha_0. A denoiser has
this boundary condition built in where its objective's c_skip and c_out (`Objective.x0`: x0 = c_skip x_t + c_out
prediction) have it:

    v      c_skip = alpha / scale^2, c_out = -sigma / scale       with alpha = cos and sigma = sin, TrigFlow's
    flow   c_skip = 1 / (alpha + sigma), c_out = -sigma / (alpha + sigma)
    x0     c_skip = 0, c_out = 1                                  not; `consistency_target` has it for all of them
"""

import torch
from torch import Tensor

from audiodiff.diffusion.clips import clip_mean, column
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.precision import float64_device

HUBER = 0.00054  # Song and Dhariwal, arXiv 2310.14189, for signals of unit variance


def amplitudes(schedule: Schedule, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma at times t (B,), float64, shaped to broadcast against `like`."""
    t = t.to(float64_device(like.device)).double()
    alpha, sigma = (amplitude(t, torch.float64) for amplitude in (schedule.alpha, schedule.sigma))
    shape = (-1,) + (1,) * (like.ndim - 1)
    return alpha.reshape(shape), sigma.reshape(shape)


def add_noise(schedule: Schedule, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha x0 + sigma noise at times t (B,)."""
    alpha, sigma = amplitudes(schedule, t, x0)
    return alpha.to(x0) * x0 + sigma.to(x0) * noise


def first_order_step(schedule: Schedule, x_t: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """x_s after a DDIM step with the estimate x0, from times t (B,) above 0 to times s (B,)."""
    carry, gain = _factors(schedule, x_t, t, s)
    return carry.to(x_t) * x_t + gain.to(x_t) * x0


def solve_step(schedule: Schedule, x_t: Tensor, x_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The x0 whose DDIM step leads from x_t to x_s, the inverse of `first_order_step`."""
    carry, gain = _factors(schedule, x_t, t, s)
    return (x_s - carry.to(x_t) * x_t) / gain.to(x_t)


def two_step_target(teacher: DenoiserLike, x_t: Tensor, times: tuple[Tensor, Tensor, Tensor], cond=None) -> Tensor:
    """The x0 that leads in one step where two steps of a teacher lead.

    Args:
        teacher: estimates E[x0 | x_t], or is itself a student of earlier stages.
        x_t: (B, C, T) states.
        times: (B,) each, of x_t, of the end of the first step and of the second.
        cond: of the teacher.
    """
    t, middle, end = times
    x = first_order_step(teacher.schedule, x_t, teacher(x_t, t, cond), t, middle)  # type: ignore[arg-type]
    x = first_order_step(teacher.schedule, x, teacher(x, middle, cond), middle, end)  # type: ignore[arg-type]
    return solve_step(teacher.schedule, x_t, x, t, end)


def ode_step(teacher: DenoiserLike, x_t: Tensor, t: Tensor, s: Tensor, cond=None, order: int = 1) -> Tensor:
    """A step of a teacher's probability-flow ODE from times t (B,) to times s (B,).

    Args:
        teacher: estimates E[x0 | x_t].
        x_t: (B, C, T) states.
        t, s: (B,) times.
        cond: of the teacher.
        order: 1, DDIM, or 2, the mean of the estimates at both ends (Heun's rule in the exponential integrator), which
            evaluates the teacher twice.
    """
    x0 = teacher(x_t, t, cond)  # type: ignore[arg-type]
    x_s = first_order_step(teacher.schedule, x_t, x0, t, s)
    if order == 1:
        return x_s
    # A step to clean data ends there, and has no second estimate.
    mean = torch.where(column(s > 0, x_t).bool(), (x0 + teacher(x_s, s, cond)) / 2, x0)  # type: ignore[arg-type]
    return first_order_step(teacher.schedule, x_t, mean, t, s)


def consistency_target(target: DenoiserLike, x_s: Tensor, s: Tensor, cond=None) -> Tensor:
    """f(x_s, s) of a target network, which at s = 0 is the clean signal itself."""
    alpha, _ = amplitudes(target.schedule, s, x_s)
    clean = x_s / torch.where(alpha > 0, alpha, 1.0).to(x_s)
    return torch.where(column(s > 0, x_s).bool(), target(x_s, s, cond), clean)  # type: ignore[arg-type]


def pseudo_huber(difference: Tensor, samples: Tensor | None = None, c: float = HUBER) -> Tensor:
    """(B,) sqrt(mean square + c^2) - c over the first `samples` (B,): squares below c, absolute errors above.

    Song and Dhariwal, "Improved Techniques for Training Consistency Models" (arXiv 2310.14189), equation 9, of the mean
    in place of the sum, with c relative to it in the same way.
    """
    return (clip_mean(difference.square(), samples) + c**2).sqrt() - c


def angle(schedule: Schedule, t: Tensor) -> Tensor:
    """atan(sigma / alpha) at times t (B,), float64: the variable in which the distances of a trajectory are even."""
    t = t.to(float64_device(t.device)).double()
    return torch.atan2(schedule.sigma(t, torch.float64), schedule.alpha(t, torch.float64))


def _factors(schedule: Schedule, like: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """(c, alpha_s - c alpha_t), float64."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (amplitudes(schedule, time, like) for time in (t, s))
    carry = sigma_s / sigma_t
    return carry, alpha_s - carry * alpha_t
