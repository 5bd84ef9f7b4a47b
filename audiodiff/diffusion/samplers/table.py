"""The table of a sampler: one row for each network evaluation, and how it reads as equations."""

from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One row of a sampler's table, for the n-th evaluation; `carry` and `weights` hold the newest first.

    x_(n+1) = sum_j carry_j x_(n-j) + sum_j weights_j f_(n-j) + noise z,   f_n = feature_0 x_n + feature_1 E[x0 | x_n].
    """

    t: float
    carry: tuple[float, ...]
    weights: tuple[float, ...]
    feature: tuple[float, float] = (0.0, 1.0)
    noise: float = 0.0

    def times(self, gain: float) -> "Step":
        """The row that leads to `gain` times the state."""
        carry, weights = (tuple(gain * factor for factor in row) for row in (self.carry, self.weights))
        return self._replace(carry=carry, weights=weights, noise=gain * self.noise)


class Table(list[Step]):
    """The steps of a sampler, in order. `str` writes them as equations, one line for each network evaluation.

    D_n is the estimate E[x0 | x_n], f_n a feature of another kind, z_n standard normal noise.
    """

    def __str__(self) -> str:
        """The equations, one line a step."""
        return "\n".join(_equation(n, step) for n, step in enumerate(self))


def _equation(n: int, step: Step) -> str:
    """Step n as text."""
    estimate = step.feature == (0.0, 1.0)
    letter = "D" if estimate else "f"
    feature = "" if estimate else f"f_{n} = {_sum([(step.feature[0], f'x_{n}'), (step.feature[1], f'D_{n}')])}   "
    terms = [(factor, f"x_{n - j}") for j, factor in enumerate(step.carry)]
    terms += [(factor, f"{letter}_{n - j}") for j, factor in enumerate(step.weights)]
    return f"t_{n} = {step.t:.6g}:  {feature}x_{n + 1} = {_sum([*terms, (step.noise, f'z_{n}')])}"


def _sum(terms: Sequence[tuple[float, str]]) -> str:
    """The linear combination as text; terms with factor 0 are left out."""
    parts = [f"{'-' if factor < 0 else '+'} {_factor(abs(factor))}{name}" for factor, name in terms if factor]
    text = " ".join(parts).removeprefix("+ ")
    return text.replace("- ", "-", 1) if text.startswith("- ") else text or "0"


def _factor(value: float) -> str:
    """A positive factor and the space behind it; nothing for 1."""
    return "" if f"{value:.6g}" == "1" else f"{value:.6g} "
