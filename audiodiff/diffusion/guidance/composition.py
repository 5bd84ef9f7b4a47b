"""Composition of conditions: several of them at once, each with a weight, or each in a part of the signal.

If conditions c_i are independent given x, then p(x | c_1, ..., c_n) is proportional to p(x) prod p(x | c_i) / p(x). So
its score is that of p(x) plus the sum of what each condition adds, and with weights and Tweedie's formula, in which the
estimate of x0 is linear in the score,

    x0 = u + sum_i w_i (c_i - u),

where c_i and u are the estimates with condition i and without any (Liu et al. 2022, "Compositional visual generation
with composable diffusion models", arXiv 2206.01714, equation 11). Weights of 1 are the conjunction, a negative weight
steers away, and weights whose sum is 1 are the weighted geometric mean of the p(x | c_i), which needs no u.

A weight may be a function of the position. Where one condition has all the weight before a border and another one after
it, each holds in its part of the signal, and the network sees both parts at every step, so that they belong together
(as the masks of MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113, section 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.clips import check_clips
from audiodiff.diffusion.wrapper import Time, Wrapper


@dataclass(frozen=True)
class Composition:
    """A condition that is composed of others.

    Args:
        conditions: c_i, each of the same clips.
        weights: w_i, a number for the whole signal or (T,) for each position.
        base: the condition u, usually that of no condition.

    Raises:
        ValueError: no condition, or another number of weights.
    """

    conditions: Sequence[Any]
    weights: Sequence[Tensor | float]
    base: Any = None

    def __post_init__(self):
        """Check that every condition has a weight."""
        if not self.conditions or len(self.conditions) != len(self.weights):
            counts = f"{len(self.conditions)} conditions and {len(self.weights)} weights"
            raise ValueError(f"a composition needs at least one condition and a weight for each, got {counts}")

    @property
    def rest(self) -> Tensor | float:
        """The weight of the base, 1 - sum_i w_i."""
        rest = 1.0 - sum(self.weights[1:], self.weights[0])
        # Decimal weights such as 0.7 and 0.3 add up to 1 up to rounding, and an evaluation of the base would be lost.
        if isinstance(rest, Tensor):
            return torch.where(rest.abs() < 1e-6, 0.0, rest)
        return 0.0 if abs(rest) < 1e-6 else rest


class Composed(Wrapper):
    """A denoiser that also takes a `Composition` as its condition; others are passed on unchanged.

    Costs an evaluation for each condition whose weight is not zero, and one for the base where the weights' sum is not
    1. Guidance comes around it.

    Args:
        denoiser: the model.

    Raises:
        ValueError: in a call: a condition with another number of clips than x_t, or weights of another length.
    """

    def __call__(self, x_t: Tensor, t: Time, cond: Any = None) -> Tensor:
        """The estimate of E[x0 | x_t], (B, C, T), with the composed condition."""
        for part in (*cond.conditions, cond.base) if isinstance(cond, Composition) else (cond,):
            check_clips(part, x_t)
        return self._modified(x_t, t, cond)

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        if not isinstance(cond, Composition):
            return self._estimate(x_t, t, cond)
        parts = [*zip(cond.conditions, cond.weights, strict=True), (cond.base, cond.rest)]
        parts = [(condition, weight) for condition, weight in parts if torch.as_tensor(weight).any()]
        total = torch.zeros_like(x_t)
        for condition, weight in parts:
            total = total + (weight.to(x_t) if isinstance(weight, Tensor) else weight) * self._estimate(
                x_t, t, condition
            )
        return total


def window_weights(positions: Tensor, start: float, end: float, fade: float) -> Tensor:
    """Weights (T,) of a condition that holds between two positions, with sine-squared fades around both.

    Conditions that follow each other have weights whose sum is 1 at every position.

    Args:
        positions: (T,) of the signal.
        start, end: of the condition; infinite: from the beginning or to the end of the signal.
        fade: width of the fades, centered at `start` and `end`; 0: none.
    """

    def rise(border: float) -> Tensor:
        share = (positions - border) / fade + 0.5 if fade else (positions >= border).to(positions)
        return (share.clamp(0, 1) * (torch.pi / 2)).sin().square()

    return rise(start) - rise(end) if end > start else torch.zeros_like(positions)
