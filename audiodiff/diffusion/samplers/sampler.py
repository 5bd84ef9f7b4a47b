"""The loop from noise to data.

Every fixed-grid sampler here is linear in what the network says: with x_n the state in which the network is asked for
the n-th time and f_n = p_n x_n + q_n E[x0 | x_n] its feature (the estimated x0, noise or v),

    x_(n+1) = sum_j carry_(n, j) x_(n-j) + sum_j weights_(n, j) f_(n-j) + noise_n z_n.

Multistep methods look back on features; singlestep methods look back on states too, because the stages of a step all
leave from its start. A sampler is therefore a table of such `Step`s, one for each network call, computed from the grid
alone, in float64, and one loop walks them all. The loop holds no branch on tensor values and no number of it comes
from a device, so it can be compiled as a whole and captured in a CUDA graph (`integrate`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from audiodiff.diffusion.clips import check_output, combine
from audiodiff.diffusion.grids import grid as grids
from audiodiff.diffusion.samplers.table import Step, Table
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError

Noise = Callable[[int], Tensor]
"""step -> standard normal like the state."""
Callback = Callable[[int, int, Tensor, Tensor], None]
"""Called after each network call with (calls done before it, nfe, x, E[x0 | x] that led there)."""


class DenoiserLike(Protocol):
    """What a sampler needs of a denoiser: a `Denoiser`, an oracle, a wrapper around either, or any function.

    A `schedule` and a call are enough. Two more attributes are used where a denoiser has them: `t_max`, the time to
    start from (`start_time`), and `posterior`, for a learned variance.
    """

    @property
    def schedule(self) -> Schedule:
        """Signal and noise at t."""

    def __call__(self, x_t: Tensor, t: float, cond: Any = None) -> Tensor:
        """E[x0 | x_t], like x_t."""


def schedule_of(denoiser: DenoiserLike | Schedule) -> Schedule:
    """A denoiser's schedule; a schedule itself."""
    return denoiser if isinstance(denoiser, Schedule) else denoiser.schedule


def start_time(denoiser: DenoiserLike | Schedule) -> float:
    """The time to start from: the denoiser's `t_max`, or the schedule's where it has none."""
    return getattr(denoiser, "t_max", schedule_of(denoiser).t_max)


def estimate(denoiser: Callable[[Tensor, Any, Any], Tensor], x_t: Tensor, t: Tensor | float, cond: Any) -> Tensor:
    """A denoiser's E[x0 | x_t], in the shape and dtype of x_t.

    Raises:
        ValueError: it returned another shape, or no real floating-point numbers.
    """
    return check_output(denoiser(x_t, t, cond), x_t.shape, x_t.dtype, "the denoiser")


class Sampler(ABC):
    """A sampler on a fixed grid of times: it integrates from noise to data.

    Args:
        nfe: number of network calls, >= 1.
        grid: (intervals + 1,) strictly falling times in [0, 1]; None: `default_grid`. There is an interval for each
            network call, unless a sampler says otherwise.

    Raises:
        ValueError: nfe < 1, a grid that is not strictly falling, or of another length than intervals + 1.
    """

    def __init__(self, nfe: int, grid: Tensor | None = None):
        if nfe < 1:
            raise ValueError(f"a sampler needs at least one network call, got nfe = {nfe}")
        self.nfe = nfe
        self.grid = None if grid is None else self._checked(grid)

    @property
    def intervals(self) -> int:
        """How many intervals the grid has."""
        return self.nfe

    @property
    def stochastic(self) -> bool:
        """Whether noise is added on the way, so that a call needs `noise`."""
        return False

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """The grid for a denoiser that starts at t_max: uniform t, down to 0."""
        return grids.uniform_t(schedule, self.intervals, t_max)

    @abstractmethod
    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """The table of this sampler on a checked grid (intervals + 1,)."""

    def table(self, denoiser: DenoiserLike | Schedule) -> Table:
        """The steps for a denoiser or for any denoiser of a schedule; `print` shows them as equations.

        They are those on the sampler's grid, else on the default one from the denoiser's t_max.

        Raises:
            ValueError: the grid starts above the denoiser's t_max.
        """
        grid, schedule = self.grid_for(denoiser), schedule_of(denoiser)
        *rows, last = self.steps(schedule, grid)
        gain = gain_to_data(schedule, float(grid[-1]))
        return Table([*rows, last if gain == 1 else last.times(gain)])

    def grid_for(self, denoiser: DenoiserLike | Schedule) -> Tensor:
        """The times of the steps and of the end: (intervals + 1,), float64. Raises as `table`."""
        t_max = start_time(denoiser)
        if self.grid is None:
            return self.default_grid(schedule_of(denoiser), t_max)
        if float(self.grid[0]) > t_max:
            raise ValueError(f"the grid starts at {float(self.grid[0]):.6g}, the denoiser at {t_max:.6g}")
        return self.grid

    def noise_scale(self, denoiser: DenoiserLike) -> float:
        """Standard deviation of the noise that a call begins with; 1 where variance is preserved. Raises as `table`."""
        return denoiser.schedule.level(float(self.grid_for(denoiser)[0])).scale

    def __call__(
        self,
        denoiser: DenoiserLike,
        x1: Tensor,
        cond: Any = None,
        noise: Noise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """From x1 at the grid's first time to its last. Gradients flow if they are enabled.

        Args:
            denoiser: answers E[x0 | x_t]; asked with t as a number.
            x1: (B, C, T) the state at the grid's first time: standard normal noise times `noise_scale`.
            cond: handed to the denoiser as it is.
            noise: step -> standard normal like x1 (`noise.step_noise`); only stochastic samplers ask.
            callback: see `Callback`.

        Returns:
            (B, C, T) the state at the grid's last time, or x0 where that is clean; in float64 if x1 is, else float32:
            the dtype of the state all along.

        Raises:
            ValueError: no noise for a stochastic sampler, a grid that starts above the denoiser's t_max, an answer of
                another shape than the state, or a state that is not finite (the message names the first such step).
        """
        self._require(noise)
        x, finite = self.integrate(denoiser, x1, cond, noise, callback)
        refuse_not_finite(finite)
        return x

    def integrate(
        self, denoiser: DenoiserLike, x1: Tensor, cond: Any, noise: Noise | None, callback: Callback | None
    ) -> tuple[Tensor, Tensor]:
        """The call without its look at the device: (x0, (nfe,) whether the state was finite after each call)."""
        return integrate(self.table(denoiser), denoiser, x1, cond, noise, callback)

    def _require(self, noise: Noise | None) -> None:
        if self.stochastic and noise is None:
            raise ValueError(f"{type(self).__name__} adds noise at every step: give it noise, a function of the step")

    def _checked(self, grid: Tensor) -> Tensor:
        grid = grids.check(grid)
        if len(grid) != self.intervals + 1:
            raise ValueError(f"{self.nfe} network calls need a grid of {self.intervals + 1} times, got {len(grid)}")
        return grid


def integrate(
    table: Sequence[Step],
    denoiser: Callable[[Tensor, float, Any], Tensor],
    x1: Tensor,
    cond: Any = None,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> tuple[Tensor, Tensor]:
    """Walk a sampler's table: (x0, (nfe,) whether the state was finite after each network call).

    This is what is compiled and what a CUDA graph captures, with noise drawn beforehand and no callback.
    """
    x = x1 if x1.dtype == torch.float64 else x1.float()
    states_kept, features_kept = max(len(step.carry) for step in table), max(len(step.weights) for step in table)
    states: list[Tensor] = []
    features: list[Tensor] = []
    sums = []
    for n, step in enumerate(table):
        x0_hat = estimate(denoiser, x, step.t, cond)
        states = [x, *states[: states_kept - 1]]
        features = [combine(step.feature, (x, x0_hat), fused=True), *features[: features_kept - 1]]
        x = combine((*step.carry, *step.weights), (*states[: len(step.carry)], *features), fused=True)
        if step.noise:
            assert noise is not None
            x = torch.add(x, noise(n), alpha=step.noise)
        # One pass over the state where isfinite would take two and a mask; an infinite sum is none of a sound signal.
        sums.append(x.sum())
        if callback is not None:
            callback(n, len(table), x, x0_hat)
    return x, torch.isfinite(torch.stack(sums))


def gain_to_data(schedule: Schedule, t: float) -> float:
    """What the state at the time t is multiplied by to be x0: 1 / alpha where sigma = 0, 1 where noise is left."""
    level = schedule.level(t)
    return 1.0 if level.sigma else 1 / level.alpha


def refuse_not_finite(finite: Tensor) -> None:
    """Raise UserError that names the first step whose entry in finite (nfe,) is false: the one look at the device."""
    broken = (~finite).nonzero().flatten().tolist()
    if broken:
        raise not_finite(f"step {broken[0] + 1} of {len(finite)}")


class NotFinite(UserError):
    """The state of a sampler became NaN or infinite."""


def not_finite(step: str) -> NotFinite:
    """What to raise where the state is not finite after a step."""
    problem = f"not finite after {step}: the network answered NaN or infinity"
    return NotFinite("the sampled signal", problem, "use float32, or export the model again")
