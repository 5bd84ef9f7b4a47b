"""The trajectory of a sampler: every state that a denoiser is evaluated at, and what it estimates there."""

from typing import Any, NamedTuple

from torch import Tensor

from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.wrapper import Time, Wrapper


class State(NamedTuple):
    """A state x_t (B, C, T) at time t, and the estimate of the clean signal from it, like x_t."""

    t: float
    x_t: Tensor
    estimate: Tensor


class Trajectory(Wrapper):
    """A denoiser that keeps the states that it is evaluated at; its estimates are those of the wrapped one.

    Attributes:
        states: in the order of evaluation.
    """

    def __init__(self, denoiser: DenoiserLike):
        super().__init__(denoiser)
        self.states: list[State] = []

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        found = self._estimate(x_t, t, cond)
        self.states.append(State(float(t), x_t.detach().clone(), found.detach().clone()))
        return found
