"""Our samplers on the problems of `solver_problems.py`."""

import math
from typing import Any

from solver_problems import Answer, Problem
from torch import Tensor

from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.diffusion.schedules.schedule import Cosine, Schedule
from audiodiff.errors import UserError


class CountingDenoiser:
    """A problem's denoiser with our interface, which records its first time and its evaluations.

    Args:
        problem: whose denoiser.
        schedule: signal and noise at t.
    """

    def __init__(self, problem: Problem, schedule: Schedule):
        self.problem = problem
        self.schedule = schedule
        self.t_max = schedule.t_max
        self.first: float | None = None
        self.nfe = 0

    def __call__(self, x_t: Tensor, t: float, cond: Any = None) -> Tensor:
        """E[x0 | x_t], like x_t."""
        self.first = float(t) if self.first is None else self.first
        self.nfe += 1
        level = self.schedule.level(float(t))
        return self.problem.x0(x_t.flatten(1), level.alpha, level.sigma).reshape(x_t.shape)


def answer(problem: Problem, sampler: Sampler, schedule: Schedule | None = None) -> Answer:
    """Runs a deterministic sampler from its grid's first time to its last (None: 0) on the schedule (None: cosine)."""
    denoiser = CountingDenoiser(problem, schedule or Cosine())
    begin = denoiser.t_max if sampler.grid is None else float(sampler.grid[0])
    x = sampler(denoiser, problem.noise.unsqueeze(1) * denoiser.schedule.level(begin).scale)
    end = denoiser.schedule.level(0.0 if sampler.grid is None else float(sampler.grid[-1]))
    first = denoiser.schedule.level(denoiser.first)
    start, stop = (math.atan2(level.sigma, level.alpha) for level in (first, end))
    return Answer(x.squeeze(1) / end.alpha, start, stop, denoiser.nfe)


def error(problem: Problem, sampler: Sampler, schedule: Schedule | None = None) -> float:
    """Median error of a sampler on a problem; exact solutions are kept by the problem."""
    return problem.errors(answer(problem, sampler, schedule)).median


def names() -> tuple[str, ...]:
    """The presets that need no noise, and "recommended"."""
    return (*(name for name in presets.NAMES if not presets.build(name, 4).stochastic), "recommended")


def run(name: str, problem: Problem, nfe: int) -> Answer | None:
    """The result of a preset, or of the recommended one; None if it needs more steps."""
    try:
        sampler = presets.recommended(nfe) if name == "recommended" else presets.build(name, nfe)
    except UserError:
        return None
    return answer(problem, sampler)
