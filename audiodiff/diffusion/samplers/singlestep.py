r"""Exponential Runge-Kutta methods: several network evaluations a step, and no history between steps.

A step from t to s of order k evaluates the network at k stages, the first at t. Each stage, and then s itself, is
reached from t by the exact solution (`integral`) with a polynomial through earlier predictions. With the stages at the
fractions 0 = r_0 < r_1 < ... of the step in the coordinate, a `Tableau` names the stages of each polynomial:

    order 2, midpoint   r = 0, 1/2       r_1 from {0};                       s from {r_1}
    order 2, Heun       r = 0, 1         r_1 from {0};                       s from {0, r_1}
    order 3             r = 0, 1/3, 2/3  r_1 from {0}; r_2 from {0, r_1};    s from {0, r_2}

For epsilon in half_log_snr the first and the third are DPM-Solver-2 and -3 (Lu et al., arXiv 2206.00927, algorithms 1
and 2), for x0 their DPM-Solver++ counterparts, of which 2S stands in Lu et al., arXiv 2211.01095, algorithm 1. For
epsilon in the ratio sigma / alpha, where the kernel is constant, the second is Heun's method as Karras et al. use it
(arXiv 2206.00364, algorithm 1). For v in the angle they are the midpoint rule, Heun's and Heun's third-order rule.

Ends. Where the integral or a stage of it is not finite (a step from alpha = 0 or to sigma = 0), or the step is too wide
to be stable (`Integral.stable`), the interval's evaluations are spent on DDIM steps of even angle atan(sigma / alpha).
They are of order 1, so the default split gives the intervals at the ends one evaluation.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.diffusion.grids import grid as grids
from audiodiff.diffusion.samplers import integral as integrals
from audiodiff.diffusion.samplers.ancestral import first_order_step
from audiodiff.diffusion.samplers.integral import Integral
from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.schedule import Level, Schedule


class Tableau(NamedTuple):
    """The stages of a step, and the stages that each polynomial interpolates."""

    fractions: tuple[float, ...]
    """Place of each stage in the step's coordinate, 0 the start and 1 the end; the first is 0."""
    nodes: tuple[tuple[int, ...], ...]
    """For each stage, the stages of the polynomial that leads to the next one, or to the end."""


EULER = Tableau((0.0,), ((0,),))
MIDPOINT = Tableau((0.0, 1 / 2), ((0,), (1,)))
HEUN = Tableau((0.0, 1.0), ((0,), (0, 1)))
THIRD = Tableau((0.0, 1 / 3, 2 / 3), ((0,), (0, 1), (0, 2)))
TABLEAUS = {1: EULER, 2: MIDPOINT, 3: THIRD}


def fast_split(nfe: int, order: int) -> list[int]:
    """Evaluations per interval as in DPM-Solver-fast: full orders, and the rest at the end (3, 3, ..., 2, 1).

    Lu et al. (arXiv 2206.00927), for grids that end above t = 0. There the last interval of a budget that three
    divides is halved into orders 2 and 1, so that the last step is never of order 3.
    """
    if order == 3 and nfe % 3 == 0:
        return [3] * (nfe // 3 - 1) + [2, 1]
    return [order] * (nfe // order) + [nfe % order] * (nfe % order > 0)


def level_between(integral: Integral, start: Level, stop: Level, fraction: float) -> Level:
    """The level at a fraction of the way from start to stop in the integral's coordinate; both finite there."""
    if fraction in (0, 1):
        return stop if fraction else start
    if integral.coordinate == "t":
        return integral.schedule.level(start.t + fraction * (stop.t - start.t))
    if integral.coordinate == "half_log_snr":
        log_snr = start.log_snr + fraction * (stop.log_snr - start.log_snr)
    elif integral.coordinate == "ratio":
        first, last = (level.sigma / level.alpha for level in (start, stop))
        log_snr = -2 * math.log(first + fraction * (last - first))
    else:
        log_snr = _log_snr_between(start, stop, fraction)
    return integral.schedule.level(float(integral.schedule.t_from_log_snr(log_snr)))


def interval_rows(integral: Integral, tableau: Tableau, start: Level, stop: Level) -> list[Step]:
    """The rows of one step by a tableau, one a stage; DDIM's in equal number where they are not finite or stable."""
    if integral.solvable(start, stop):
        stages = [level_between(integral, start, stop, fraction) for fraction in tableau.fractions]
        if all(integral.usable(stage) for stage in stages):
            nodes = [stages[n] for n in tableau.nodes[-1]]
            if len(stages) == 1 or integral.stable(nodes, integral.weights(nodes, start, stop), start, stop):
                return stage_rows(integral, tableau, stages, stop)
    return ddim_rows(integral.schedule, start, stop, len(tableau.nodes))


def stage_rows(integral: Integral, tableau: Tableau, stages: Sequence[Level], stop: Level) -> list[Step]:
    """The rows of one step whose stages lie at given levels."""
    ends = [*stages[1:], stop]
    return [stage_row(integral, stages[: i + 1], tableau.nodes[i], end) for i, end in enumerate(ends)]


def stage_row(integral: Integral, stages: Sequence[Level], nodes: Sequence[int], end: Level) -> Step:
    """The row after the last of these stages: from the first one to `end`, by the predictions at nodes."""
    last = len(stages) - 1
    weights = [0.0] * (last - min(nodes) + 1)
    for node, weight in zip(nodes, integral.weights([stages[n] for n in nodes], stages[0], end), strict=True):
        weights[last - node] = weight
    carry = (0.0,) * last + (integral.carry(stages[0], end),)
    return Step(stages[last].t, carry, tuple(weights), integral.feature(stages[last]))


def ddim_rows(schedule: Schedule, start: Level, stop: Level, count: int) -> list[Step]:
    """`count` DDIM steps of even angle from start to stop."""
    inner = [_log_snr_between(start, stop, i / count) for i in range(1, count)]
    levels = [start, *(schedule.level(float(schedule.t_from_log_snr(log_snr))) for log_snr in inner), stop]
    return [first_order_step(a, b) for a, b in pairwise(levels)]


def _log_snr_between(start: Level, stop: Level, fraction: float) -> float:
    """log_snr at a fraction of the way in the angle atan(sigma / alpha)."""
    first, last = (math.atan2(level.sigma, level.alpha) for level in (start, stop))
    return -2 * math.log(math.tan(first + fraction * (last - first)))


class Singlestep(Sampler):
    """The exponential Runge-Kutta method of a given order: as many network evaluations in a step as its order.

    Args:
        nfe: number of network evaluations.
        order: 1, 2 (midpoint) or 3: the evaluations in a step, unless `split` says otherwise.
        predict: the prediction that is interpolated: "x0", "epsilon" or "v". Independent of what the network predicts.
        grid: (len(split) + 1,) times, the ends of the steps; None: the times of the default grid of
            `Multistep` at which a step begins.
        coordinate: the variable of the polynomial, see `Integral`; None: half_log_snr for x0 and epsilon, angle for v.
        split: the network evaluations in each interval, from 1 to 3, which add up to nfe; the order of a step is its
            number of evaluations. None: the rest first, then full orders, as less happens near pure noise; and unless v
            is interpolated in a bounded coordinate, one evaluation each at both ends. `fast_split` is
            the published one.

    Raises:
        ValueError: another order, prediction or coordinate, nfe < order without a split, a split that does not add up
            to nfe, or as `Sampler`.
    """

    def __init__(
        self,
        nfe: int,
        order: int,
        predict: str = "x0",
        grid: Tensor | None = None,
        coordinate: str | None = None,
        split: Sequence[int] | None = None,
    ):
        if order not in TABLEAUS:
            raise ValueError(f"order is 1, 2 or 3, got {order}")
        integrals.check(predict, coordinate, 0.0)
        if 0 < nfe < order and split is None:
            raise ValueError(f"a method of order {order} needs nfe >= {order}, got {nfe}")
        if split is not None and (sum(split) != nfe or not set(split) <= set(TABLEAUS)):
            raise ValueError(f"split must have 1 to 3 evaluations an interval and {nfe} in total, got {list(split)}")
        self.order, self.predict, self.coordinate, self.split = order, predict, coordinate, split
        super().__init__(nfe, grid)

    @property
    def nfe_per_interval(self) -> list[int]:
        """The network evaluations in each interval."""
        if self.split is not None:
            return list(self.split)
        bounded = self.predict == "v" and self.coordinate not in ("half_log_snr", "ratio")
        ends = 0 if bounded else min(2, self.nfe)
        inner, rest = divmod(self.nfe - ends, self.order)
        return [1] * (ends > 0) + [rest] * (rest > 0) + [self.order] * inner + [1] * (ends > 1)

    @property
    def intervals(self) -> int:
        """How many intervals the grid has."""
        return len(self.nfe_per_interval)

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """The grid for a denoiser that starts at t_max, down to 0."""
        even = self.order == 1 or self.predict == "v" or self.coordinate == "t"
        every = (grids.uniform_t if even else grids.balanced)(schedule, self.nfe, t_max)
        return every[torch.tensor([0, *accumulate(self.nfe_per_interval)])]

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """The rows of every interval, one for each of its evaluations."""
        integral = Integral(schedule, self.predict, self.coordinate)
        levels = schedule.levels(grid)
        spans = zip(self.nfe_per_interval, levels, levels[1:], strict=False)
        return [row for nfe, *ends in spans for row in interval_rows(integral, TABLEAUS[nfe], *ends)]
