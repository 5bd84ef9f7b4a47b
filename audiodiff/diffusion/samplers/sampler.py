"""The sampling loop, from noise to data.

Every fixed-grid sampler here is linear in the network's predictions: with x_n the state at the n-th evaluation and
f_n = p_n x_n + q_n E[x0 | x_n] its feature (the estimated x0, noise or v),

    x_(n+1) = sum_j carry_(n, j) x_(n-j) + sum_j weights_(n, j) f_(n-j) + noise_n z_n.

Multistep methods use former features; singlestep methods use former states too, because all stages of a step start from
its first state. A sampler is therefore a table of such `Step`s, one for each network evaluation, computed from the
grid alone, in float64, and one loop runs them all. The loop holds no branch on tensor values and no number of it comes
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
"""Called after each network evaluation with (evaluations before it, nfe, x, E[x0 | x] that led to x)."""


class DenoiserLike(Protocol):
    """What a sampler needs of a denoiser: a `Denoiser`, an oracle, a wrapper around either, or any function.

    A `schedule` and a call are enough. Three more attributes are used where a denoiser has them: `t_max`, the time to
    start from (`start_time`); `prepare`, what is computed of a condition once and not at every step
    (`prepared_condition`); and `posterior`, for a learned variance.
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


def prepared_condition(denoiser: Any, cond: Any, x_t: Tensor) -> Any:
    """The condition, with what a denoiser or network derives from it alone where it has a `prepare(cond, x_t)`.

    Estimates with it are the same, to the bit. Unchanged where gradients are recorded, which would be shared by calls.
    """
    prepare = getattr(denoiser, "prepare", None)
    return cond if prepare is None or torch.is_grad_enabled() else prepare(cond, x_t)


def learned_posterior(denoiser: DenoiserLike, x_t: Tensor, t: float, s: float, cond: Any) -> tuple[Tensor, Tensor]:
    """Mean and log variance of x_s given x_t, of a denoiser with learned variance; like x_t.

    Raises:
        ValueError: the denoiser has no learned variance, or returned another shape or no real floating-point numbers.
    """
    posterior = getattr(denoiser, "posterior", None)
    mean, log_variance = (x_t, None) if posterior is None else posterior(x_t, t, s, cond)
    if log_variance is None:
        raise ValueError('the denoiser has no learned variance: choose "small" or "large"')
    source = "the denoiser's posterior"
    return (
        check_output(mean, x_t.shape, x_t.dtype, source),
        check_output(log_variance, x_t.shape, x_t.dtype, source),
    )


class Sampler(ABC):
    """A sampler on a fixed grid of times: it integrates from noise to data.

    Args:
        nfe: number of network evaluations, >= 1.
        grid: (intervals + 1,) strictly falling times in [0, 1]; None: `default_grid`. There is an interval for each
            network evaluation, unless a sampler says otherwise.

    Raises:
        ValueError: nfe < 1, a grid that is not strictly falling, or of another length than intervals + 1.
    """

    def __init__(self, nfe: int, grid: Tensor | None = None):
        if nfe < 1:
            raise ValueError(f"a sampler needs nfe >= 1, got {nfe}")
        self.nfe = nfe
        self.grid = None if grid is None else self._checked(grid)

    @property
    def intervals(self) -> int:
        """Number of intervals of the grid."""
        return self.nfe

    @property
    def stochastic(self) -> bool:
        """Whether noise is added at every step, so that a call needs `noise`."""
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
        """Standard deviation of the noise to start from; 1 where variance is preserved. Raises as `table`."""
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
            denoiser: estimates E[x0 | x_t]; evaluated with t as a number.
            x1: (B, C, T) the state at the grid's first time: standard normal noise times `noise_scale`.
            cond: passed to the denoiser unchanged.
            noise: step -> standard normal like x1 (`noise.step_noise`); only stochastic samplers use it.
            callback: see `Callback`.

        Returns:
            (B, C, T) the state at the grid's last time, or x0 where that is clean; in float64 if x1 is, else float32:
            the dtype of the state throughout.

        Raises:
            ValueError: no noise for a stochastic sampler, a grid that starts above the denoiser's t_max, an estimate of
                another shape than the state, or a state that is not finite (the message names the first such step).
        """
        self._require(noise)
        x, finite = self.integrate(denoiser, x1, cond, noise, callback)
        refuse_not_finite(finite)
        return x

    def integrate(
        self, denoiser: DenoiserLike, x1: Tensor, cond: Any, noise: Noise | None, callback: Callback | None
    ) -> tuple[Tensor, Tensor]:
        """Sample without reading from the device: (x0, (nfe,) whether the state was finite after each evaluation)."""
        return integrate(self.table(denoiser), denoiser, x1, cond, noise, callback)

    def _require(self, noise: Noise | None) -> None:
        if self.stochastic and noise is None:
            raise ValueError(f"{type(self).__name__} adds noise at every step: pass noise, such as step_noise(...)")

    def _checked(self, grid: Tensor) -> Tensor:
        grid = grids.check(grid)
        if len(grid) != self.intervals + 1:
            raise ValueError(
                f"{self.nfe} network evaluations need a grid of {self.intervals + 1} times, got {len(grid)}"
            )
        return grid


def integrate(
    table: Sequence[Step],
    denoiser: Callable[[Tensor, float, Any], Tensor],
    x1: Tensor,
    cond: Any = None,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the steps of a table: (x0, (nfe,) whether the state was finite after each network evaluation).

    This is what is compiled and what a CUDA graph captures, with noise drawn beforehand and no callback.
    """
    x = x1 if x1.dtype == torch.float64 else x1.float()
    cond = prepared_condition(denoiser, cond, x) if len(table) > 1 else cond
    states_used, features_used = max(len(step.carry) for step in table), max(len(step.weights) for step in table)
    states: list[Tensor] = []
    features: list[Tensor] = []
    sums = []
    for n, step in enumerate(table):
        x0_hat = estimate(denoiser, x, step.t, cond)
        states = [x, *states[: states_used - 1]]
        features = [combine(step.feature, (x, x0_hat), fused=True), *features[: features_used - 1]]
        x = combine((*step.carry, *step.weights), (*states[: len(step.carry)], *features), fused=True)
        if step.noise:
            assert noise is not None  # as every stochastic sampler requires
            x = torch.add(x, noise(n), alpha=step.noise)
        # One pass over the state where isfinite takes two and a mask; the sum of a valid signal is finite.
        sums.append(x.sum())
        if callback is not None:
            callback(n, len(table), x, x0_hat)
    return x, torch.isfinite(torch.stack(sums))


def gain_to_data(schedule: Schedule, t: float) -> float:
    """The factor from the state at t to x0: 1 / alpha where sigma = 0, 1 where noise is left."""
    level = schedule.level(t)
    return 1.0 if level.sigma else 1 / level.alpha


def refuse_not_finite(finite: Tensor) -> None:
    """Raise UserError that names the first step whose entry in finite (nfe,) is false; reads from the device."""
    broken = (~finite).nonzero().flatten().tolist()
    if broken:
        raise not_finite(f"step {broken[0] + 1} of {len(finite)}")


class NotFinite(UserError):
    """The state of a sampler became NaN or infinite."""


def not_finite(step: str) -> NotFinite:
    """The error of a state that is not finite after a step."""
    problem = f"not finite after {step}: the network returned NaN or infinity"
    return NotFinite(
        "the sampled signal", problem, "use float32, lower the scales of adapters, or export the model again"
    )
