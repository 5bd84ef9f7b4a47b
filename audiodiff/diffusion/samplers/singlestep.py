r"""Exponential Runge-Kutta methods: several network calls a step, and nothing remembered from one step to the next.

A step from t to s of order k asks the network at k stages, the first at t. Each stage, and then s itself, is reached
from t by the exact solution (`integral`) with a polynomial through earlier answers in the place of the network's. With
the stages at the fractions 0 = r_0 < r_1 < ... of the step in the coordinate, a `Tableau` says which answers:

    order 2, midpoint   r = 0, 1/2       r_1 from {0};                       s from {r_1}
    order 2, Heun       r = 0, 1         r_1 from {0};                       s from {0, r_1}
    order 3             r = 0, 1/3, 2/3  r_1 from {0}; r_2 from {0, r_1};    s from {0, r_2}

For epsilon in half_log_snr the first and the third are DPM-Solver-2 and -3 (Lu et al., arXiv 2206.00927, algorithms 1
and 2), for x0 their DPM-Solver++ counterparts, of which 2S stands in Lu et al., arXiv 2211.01095, algorithm 1. For
epsilon in the ratio sigma / alpha, where the kernel is constant, the second is Heun's method as Karras et al. use it
(arXiv 2206.00364, algorithm 1). For v in the angle they are the midpoint rule, Heun's and Heun's third-order rule.

Ends. Where the integral or a stage of it is not finite (a step from alpha = 0 or to sigma = 0), or the step is too wide
to be stable (`Integral.stable`), the interval's calls are spent on DDIM steps of even angle atan(sigma / alpha). They
are of order 1, so the default split gives the intervals at the ends one call.
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
    """Where a step asks the network, and which of its answers lead on from there."""

    fractions: tuple[float, ...]
    """Place of each stage in the step's coordinate, 0 the start and 1 the end; the first is 0."""
    nodes: tuple[tuple[int, ...], ...]
    """For each stage the stages whose answers make the polynomial that leads to the next one, or to the end."""


EULER = Tableau((0.0,), ((0,),))
MIDPOINT = Tableau((0.0, 1 / 2), ((0,), (1,)))
HEUN = Tableau((0.0, 1.0), ((0,), (0, 1)))
THIRD = Tableau((0.0, 1 / 3, 2 / 3), ((0,), (0, 1), (0, 2)))
TABLEAUS = {1: EULER, 2: MIDPOINT, 3: THIRD}


def fast_split(nfe: int, order: int) -> list[int]:
    """Calls per interval as in DPM-Solver-fast: full orders, and the rest at the end (3, 3, ..., 2, 1).

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
    """The row behind the last of the stages asked so far: from the first of them to `end`, by the answers at nodes."""
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
    """The exponential Runge-Kutta method of a given order: as many network calls in a step as its order.

    Args:
        nfe: number of network calls.
        order: 1, 2 (midpoint) or 3: the calls in a step, where the split does not say otherwise.
        predict: what is interpolated: "x0", "epsilon" or "v". Independent of what the network predicts.
        grid: (len(split) + 1,) times, the ends of the steps; None: of the grid that `Multistep` would take for nfe
            calls, the times at which a step begins.
        coordinate: what it is a polynomial of: see `Integral`; None: half_log_snr for x0 and epsilon, angle for v.
        split: the network calls in each interval, from 1 to 3, which add up to nfe; the order of a step is its number
            of calls. None: the rest first and then full orders, since less happens near pure noise; and unless v is
            interpolated in a bounded coordinate, one call each before and behind, for the pure ends. `fast_split` is
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
            raise ValueError(f"a method of order {order} needs at least {order} network calls, got {nfe}")
        if split is not None and (sum(split) != nfe or not set(split) <= set(TABLEAUS)):
            raise ValueError(f"a split needs 1 to 3 calls an interval, {nfe} in all, got {list(split)}")
        self.order, self.predict, self.coordinate, self.split = order, predict, coordinate, split
        super().__init__(nfe, grid)

    @property
    def nfe_per_interval(self) -> list[int]:
        """The network calls in each interval."""
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
        """The rows of every interval, one for each of its calls."""
        integral = Integral(schedule, self.predict, self.coordinate)
        levels = schedule.levels(grid)
        spans = zip(self.nfe_per_interval, levels, levels[1:], strict=False)
        return [row for calls, *ends in spans for row in interval_rows(integral, TABLEAUS[calls], *ends)]
