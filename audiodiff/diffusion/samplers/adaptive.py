r"""Adaptive step sizes, for each clip its own.

A trial step takes two solutions from the same network evaluations, x' of order k - 1 and x'' of order k, and compares
them (Lu et al., "DPM-Solver", arXiv 2206.00927, appendix C):

    e = rms((x'' - x') / delta),   delta = max(atol, rtol max(|x|, |x'|)).

If e <= 1 the step is taken, to x''; in either case the next length is safety h e^(-1 / k), at most what is left. h is
counted in half_log_snr. Unlike there, a step is at most 5 times as long as the one before: else an
error of mere rounding would decide how long the next step is, and with it the result. The pairs are the stages of
`singlestep`:

    order 2 ("12")  DDIM, and the midpoint rule
    order 3 ("23")  a line through the estimates at 0 and 1/3, integrated exactly, and the third-order rule

Published solvers take one e for a whole batch, so that a clip's result depends on the batch. Here each clip has its own
time, step and error: a batch equals single clips, up to rounding. States are compared in units of `scale`, so that the
tolerance means the same for any schedule.

Ends. half_log_snr must be finite on the way. From alpha = 0 a DDIM step leads to log_snr_min, and from log_snr_max
another one leads to t = 0; each costs an error of the order of exp(-|log_snr|), 5e-5 at +-10.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiodiff.diffusion.clips import clip_mean, column, combine
from audiodiff.diffusion.samplers.ancestral import first_order_step
from audiodiff.diffusion.samplers.integral import Integral
from audiodiff.diffusion.samplers.sampler import (
    Callback,
    DenoiserLike,
    Noise,
    estimate,
    not_finite,
    start_time,
)
from audiodiff.diffusion.samplers.singlestep import MIDPOINT, THIRD, Tableau, stage_row, stage_rows
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.schedule import Level, Schedule
from audiodiff.precision import float64_device

MAX_GROWTH = 5.0
PAIRS: dict[int, tuple[Tableau, tuple[int, ...]]] = {2: (MIDPOINT, (0,)), 3: (THIRD, (0, 1))}
"""order -> (its tableau, the stages of the lower order)."""


class _Trial(NamedTuple):
    """One clip's next step."""

    start: Level
    stop: Level
    rows: list[Step]
    lower: Step


class Adaptive:
    """DPM-Solver-12 or -23: as many network evaluations as a tolerance takes, for each clip of a batch on its own.

    Called like a `Sampler`. Its loop depends on tensor values, so no CUDA graph can capture it. The network is
    evaluated on the whole batch until the last clip is done; `integrate` returns the evaluations that each needed.

    Args:
        order: 2 or 3, also the network evaluations of a trial step.
        predict: what is interpolated: "x0" or "epsilon", in half_log_snr.
        atol: absolute tolerance in units of x_t / scale; the default is the published one, two steps of 8 bits.
        rtol: relative tolerance.
        log_snr_min: where to start from alpha = 0.
        log_snr_max: where the last step to t = 0 starts.
        first_step: the first trial's length in half_log_snr.
        safety: factor of every step size, in (0, 1).
        max_nfe: maximum number of network evaluations.

    Raises:
        ValueError: another order or prediction, tolerances, bounds or lengths that are not positive and in order. In a
            call: more network evaluations than max_nfe, or a network that returns NaN or infinity.
    """

    stochastic = False

    def __init__(
        self,
        order: int = 3,
        predict: str = "x0",
        atol: float = 0.0078,
        rtol: float = 0.05,
        log_snr_min: float = -10.0,
        log_snr_max: float = 10.0,
        first_step: float = 0.05,
        safety: float = 0.9,
        max_nfe: int = 1000,
    ):
        if order not in PAIRS:
            raise ValueError(f"order is 2 or 3, got {order}")
        if predict not in ("x0", "epsilon"):
            raise ValueError(f"predict is x0 or epsilon, got {predict!r}")
        if not (atol > 0 and rtol >= 0 and first_step > 0 and 0 < safety < 1):
            raise ValueError(
                "tolerances and steps need atol > 0, rtol >= 0, first_step > 0 and 0 < safety < 1, "
                f"got {atol}, {rtol}, {first_step} and {safety}"
            )
        if not -math.inf < log_snr_min < log_snr_max < math.inf:
            raise ValueError(f"log_snr_min must lie below log_snr_max, got {log_snr_min} and {log_snr_max}")
        self.order, self.predict, self.atol, self.rtol = order, predict, atol, rtol
        self.log_snr_min, self.log_snr_max = log_snr_min, log_snr_max
        self.first_step, self.safety, self.max_nfe = first_step, safety, max_nfe

    def __call__(
        self,
        denoiser: DenoiserLike,
        x1: Tensor,
        cond: Any = None,
        noise: Noise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """From x1 at the denoiser's t_max to t = 0; `integrate` without its count; arguments of `Sampler`.

        `callback` is called after each trial step, with max_nfe for the number of steps, which is not known.
        """
        return self.integrate(denoiser, x1, cond, callback)[0]

    def integrate(
        self, denoiser: DenoiserLike, x1: Tensor, cond: Any = None, callback: Callback | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x0 (B, C, T), (B,) the network evaluations of each clip). Raises as the class says.

        If cond has `samples` (B,), positions from there on do not count for the error.
        """
        schedule = denoiser.schedule
        x = x1 if x1.dtype == torch.float64 else x1.float()
        first = schedule.level(start_time(denoiser))
        nfe = [0] * len(x)
        if not math.isfinite(first.log_snr):
            start = _level_at(schedule, self.log_snr_min)
            x, first, nfe = _ddim(denoiser, x, first, start, cond), start, [1] * len(x)
        last = first
        if first.log_snr < self.log_snr_max:
            last = _level_at(schedule, self.log_snr_max)
            x, nfe = self._adapt(denoiser, x, cond, (first, last), nfe, callback)
        x = _ddim(denoiser, x, last, schedule.level(0.0), cond)
        if not bool(torch.isfinite(x).all()):
            raise not_finite("the last step")
        return x, torch.tensor(nfe) + 1

    def _adapt(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        cond: Any,
        ends: tuple[Level, Level],
        nfe: list[int],
        callback: Callback | None,
    ) -> tuple[Tensor, list[int]]:
        """x from the first level to the last, and the evaluations, with those of each clip added."""
        integral = Integral(denoiser.schedule, self.predict)
        first, last = ends
        trials = self._trials(integral, [first] * len(x), [self.first_step] * len(x), last)
        going = set(range(len(x)))
        while going:
            if max(nfe) + self.order >= self.max_nfe:
                raise ValueError(f"not done after {max(nfe)} network evaluations: raise atol, rtol or max_nfe")
            higher, lower, x0_hat = self._try(denoiser, x, trials, cond)
            errors = self._errors(x, higher, lower, trials, getattr(cond, "samples", None))
            nfe = [count + self.order * (i in going) for i, count in enumerate(nfe)]
            if not all(math.isfinite(errors[i]) for i in going):
                raise not_finite(f"evaluation {max(nfe)}")
            taken = {i for i in going if errors[i] <= 1}
            x = torch.where(column([i in taken for i in range(len(x))], x).bool(), higher, x)
            going -= {i for i in taken if trials[i].stop is last}
            starts = [trials[i].stop if i in taken else trials[i].start for i in sorted(going)]
            lengths = [self._next_length(trials[i], errors[i]) for i in sorted(going)]
            for i, trial in zip(sorted(going), self._trials(integral, starts, lengths, last), strict=True):
                trials[i] = trial
            if callback is not None:
                callback(max(nfe) - 1, self.max_nfe, x, x0_hat)
        return x, nfe

    def _next_length(self, trial: _Trial, error: float) -> float:
        length = (trial.stop.log_snr - trial.start.log_snr) / 2
        growth = self.safety * error ** (-1 / self.order) if error else MAX_GROWTH
        return length * min(growth, MAX_GROWTH)

    def _trials(
        self, integral: Integral, starts: Sequence[Level], lengths: Sequence[float], last: Level
    ) -> list[_Trial]:
        """The tables of each clip's next step; its length is cut to what is left."""
        tableau, lower = PAIRS[self.order]
        fractions = (*tableau.fractions[1:], 1.0)
        left = [last.log_snr - start.log_snr for start in starts]
        widths = [min(2 * length, most) for length, most in zip(lengths, left, strict=True)]
        # One look at the schedule, however many clips there are.
        places = [start.log_snr + r * width for start, width in zip(starts, widths, strict=True) for r in fractions]
        schedule = integral.schedule
        levels = schedule.levels(schedule.t_from_log_snr(torch.tensor(places, dtype=torch.float64)))
        trials = []
        for n, start in enumerate(starts):
            *inner, stop = levels[n * self.order : (n + 1) * self.order]
            stop = last if widths[n] == left[n] else stop
            stages = [start, *inner]
            rows = stage_rows(integral, tableau, stages, stop)
            trials.append(_Trial(start, stop, rows, stage_row(integral, stages, lower, stop)))
        return trials

    def _try(
        self, denoiser: DenoiserLike, x: Tensor, trials: Sequence[_Trial], cond: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The solutions of higher and lower order after the trial steps, and the last E[x0 | x_t]."""
        state = x
        features: list[Tensor] = []
        for stage in range(self.order):
            rows = [trial.rows[stage] for trial in trials]
            t = torch.tensor([row.t for row in rows], dtype=torch.float64, device=float64_device(x.device))
            x0_hat = estimate(denoiser, state, t, cond)
            features = [_mix([row.feature for row in rows], [state, x0_hat]), *features]
            state = _solution(rows, x, features)
        return state, _solution([trial.lower for trial in trials], x, features), x0_hat

    def _errors(
        self, x: Tensor, higher: Tensor, lower: Tensor, trials: Sequence[_Trial], samples: Tensor | None
    ) -> list[float]:
        before, after = (column([1 / getattr(trial, end).scale for trial in trials], x) for end in ("start", "stop"))
        size = torch.maximum((x * before).abs(), (lower * after).abs())
        error = (higher - lower) * after / (self.rtol * size).clamp(min=self.atol)
        return clip_mean(error.square(), samples).sqrt().tolist()


def _level_at(schedule: Schedule, log_snr: float) -> Level:
    return schedule.level(float(schedule.t_from_log_snr(log_snr)))


def _ddim(denoiser: DenoiserLike, x: Tensor, start: Level, stop: Level, cond: Any) -> Tensor:
    step = first_order_step(start, stop)
    return combine((*step.carry, *step.weights), (x, estimate(denoiser, x, start.t, cond)), fused=True)


def _solution(rows: Sequence[Step], x: Tensor, features: Sequence[Tensor]) -> Tensor:
    return _mix([(row.carry[-1], *row.weights) for row in rows], [x, *features])


def _mix(factors: Sequence[Sequence[float]], tensors: Sequence[Tensor]) -> Tensor:
    """The linear combination of tensors (B, ...) with factors of each clip's own."""
    terms = [column(row, tensor) * tensor for row, tensor in zip(zip(*factors, strict=True), tensors, strict=False)]
    return sum(terms[1:], terms[0])
