r"""Exponential multistep methods.

A method of order k replaces the prediction over the next step by the polynomial of degree k - 1 through the last k
predictions, and integrates it exactly (`integral`). The interpolated prediction (x0, epsilon or v) and its coordinate
make DDIM, PLMS, DEIS, multistep DPM-Solver and DPM-Solver++ and Adams-Bashforth in the angle members of one family.

Corrector. Once the prediction at the end of a step is known, that step can be integrated again with it, to order k + 1,
and the state corrected, without a further evaluation (the predictor-corrector of UniPC, Zhao et al., arXiv 2302.04867).
The correction is linear in the same predictions, so it only changes weights.

Start-up. The first step can only be of order 1 and leaves an error h^2, too much for a method of order 3 or more: so
steps that could not have the full order are corrected even where the corrector is off. A start one order below is
enough, so this suffices up to order 3; order 4 starts as many published methods do, and is of order 4 only where the
first step is damped.

Ends. half_log_snr is infinite at alpha = 0 and at sigma = 0. No polynomial of it reaches there, so a step from or to
such a time is DDIM's, which is finite at both: from pure noise, x_s = alpha_s x0 + sigma_s x_t, and to t = 0, E[x0 |
x_t]. Predictions at an infinite coordinate are not interpolated. The angle is finite everywhere, so v needs none of
this: its last step extrapolates like any other.

Wide steps. Where a polynomial of full degree would not be stable (`Integral.stable`), as over the first steps of a
coarse grid, the step takes the highest order that is; a correction that would not be is left out.

Backwards. `invert` integrates the same ODE from data to noise, on the same grid: DDIM inversion at order 1.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.grids import grid as grids
from audiodiff.diffusion.samplers import integral as integrals
from audiodiff.diffusion.samplers.ancestral import first_order_step
from audiodiff.diffusion.samplers.integral import Integral
from audiodiff.diffusion.samplers.sampler import DenoiserLike, Sampler, integrate, refuse_not_finite
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.schedule import Level, Schedule

MAX_ORDER = 4


class Multistep(Sampler):
    """The exponential multistep method of a given order: one network evaluation a step.

    Args:
        nfe: number of network evaluations, at least `order`.
        order: 1 to 4, the number of predictions that a step interpolates.
        predict: the prediction that is interpolated: "x0", "epsilon" or "v". Independent of what the network predicts.
        grid: (nfe + 1,) times; None: uniform t for order 1 and for polynomials of t, `grid.warped_angle` for "v", else
            `grid.balanced`.
        coordinate: the variable of the polynomial, see `Integral`; None: half_log_snr for x0 and epsilon, angle for v.
        corrector: whether every step is corrected with the prediction at its end, which adds an order.
        eta: noise of the reverse SDE, 0 for the ODE, 1 for that of ancestral sampling.
        pseudo: see `Integral`.

    Raises:
        ValueError: another order, prediction or coordinate, nfe < order, a corrector with eta > 0 (the noise of a step
            is not known to the one before), or as `Sampler`.
    """

    def __init__(
        self,
        nfe: int,
        order: int,
        predict: str = "x0",
        grid: Tensor | None = None,
        coordinate: str | None = None,
        corrector: bool = False,
        eta: float = 0.0,
        pseudo: bool = False,
    ):
        super().__init__(nfe, grid)
        if order not in range(1, MAX_ORDER + 1):
            raise ValueError(f"order is a whole number from 1 to {MAX_ORDER}, got {order}")
        if nfe < order:
            raise ValueError(f"a method of order {order} needs nfe >= {order}, got {nfe}")
        integrals.check(predict, coordinate, eta)
        if corrector and eta:
            raise ValueError("a corrector needs eta = 0: it would take a step again without its noise")
        self.order, self.predict, self.coordinate = order, predict, coordinate
        self.corrector, self.eta, self.pseudo = corrector, eta, pseudo

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.eta > 0

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """The grid for a denoiser that starts at t_max, down to 0."""
        if self.order == 1 or self.coordinate == "t":
            return super().default_grid(schedule, t_max)
        return (grids.warped_angle if self.predict == "v" else grids.balanced)(schedule, self.nfe, t_max)

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """Rows of the exact solution with interpolated features, DDIM's where the integral is not finite.

        The grid may also rise: the same ODE backwards.
        """
        integral = Integral(schedule, self.predict, self.coordinate, self.eta, self.pseudo)
        levels = schedule.levels(grid)
        table: list[Step] = []
        nodes: list[Level] = []  # the levels whose features may be interpolated, newest first
        correction: Sequence[float] = ()
        for start, stop in itertools.pairwise(levels):
            nodes = [start, *nodes] if integral.usable(start) else nodes
            if not integral.solvable(start, stop):
                table.append(first_order_step(start, stop, integral.marginal_noise(start, stop)))
                correction = ()
                continue
            order, weights = self._weights(integral, nodes, start, stop)
            carry = integral.carry(start, stop)
            row = _add(weights, [carry * w for w in correction])
            table.append(Step(start.t, (carry,), row, integral.feature(start), integral.noise(start, stop)))
            corrected = not self.eta and (self.corrector or order < self.order - 1) and integral.usable(stop)
            correction = self._correction(integral, [stop, *nodes[:order]], start, stop, weights) if corrected else ()
        return table

    def _weights(self, integral: Integral, nodes: list[Level], start: Level, stop: Level) -> tuple[int, list[float]]:
        """The largest order, up to the method's own, at which the step is stable, and its weights."""
        for order in range(min(self.order, len(nodes)), 0, -1):
            weights = integral.weights(nodes[:order], start, stop)
            if order == 1 or integral.stable(nodes[:order], weights, start, stop):
                break
        return order, weights

    @staticmethod
    def _correction(
        integral: Integral, nodes: list[Level], start: Level, stop: Level, weights: list[float]
    ) -> tuple[float, ...]:
        """The change of the weights with the prediction at the step's end, newest first; () if that is not stable."""
        corrected = integral.weights(nodes, start, stop)
        if not integral.stable(nodes, corrected, start, stop):
            return ()
        return _add(corrected, [0.0, *(-w for w in weights)])


def invert(sampler: Multistep, denoiser: DenoiserLike, x0: Tensor, cond: Any = None) -> Tensor:
    """The state at the sampler's first time that leads to x0: its ODE integrated backwards on the same grid.

    Exact only as the steps shrink, to the sampler's order. Where the grid ends at t = 0, its last interval is left out:
    the state at the time before it is taken to be alpha x0, as DDIM inversion does (Song et al., arXiv 2010.02502).

    Args:
        sampler: a deterministic member of the family.
        denoiser: estimates E[x0 | x_t].
        x0: (B, C, T) the state at the grid's last time.
        cond: passed to the denoiser unchanged.

    Returns:
        (B, C, T) the state at the grid's first time, float64 if x0 is, else float32.

    Raises:
        ValueError: a sampler with eta > 0, a grid of one interval that ends at t = 0, or a state that is not finite.
    """
    if sampler.stochastic:
        raise ValueError("only a deterministic sampler can be inverted: set eta = 0")
    times = sampler.grid_for(denoiser).flip(0)
    x = x0 if x0.dtype == torch.float64 else x0.float()
    if times[0] == 0:
        times = times[1:]
        x = denoiser.schedule.level(float(times[0])).alpha * x
    if len(times) < 2:
        raise ValueError("inversion needs a grid with at least two times above 0")
    x, finite = integrate(sampler.steps(denoiser.schedule, times), denoiser, x, cond)
    refuse_not_finite(finite)
    return x


def _add(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    """Sum of two rows of weights, the shorter one filled up with zeros."""
    size = max(len(a), len(b))
    return tuple(x + y for x, y in zip(*([*row, *[0.0] * (size - len(row))] for row in (a, b)), strict=True))
