r"""Langevin steps: samples of one noise level's distribution from its score.

The score of x_t is known from the denoiser, score = (alpha E[x0 | x_t] - x_t) / sigma^2, and the chain

    x <- x + epsilon score + sqrt(2 epsilon) z

has, as epsilon shrinks, the distribution of x_t for its stationary one, at the same t. With epsilon = r^2 sigma^2 k it
is linear in x_t and x0, which makes it a row of a sampler's table:

    x <- (1 - r^2 k) x + r^2 k alpha x0 + sqrt(2 k) r sigma z.

Predictor-corrector sampling (Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations",
arXiv 2011.13456, algorithms 4 and 5) makes some such steps after each step of a sampler, with k = 2 and r the ratio of
the score's part of the step to the noise's. The length is either measured, epsilon = 2 (r |z| / |score|)^2, in which
the norms are taken over each clip alone; or fixed to what this is for pure noise, |z| / |score| = sigma. Their factor
alpha_i of the variance preserving case, the ratio of two neighboring alphas, is 1 here.

Annealed Langevin dynamics (Song and Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution",
arXiv 1907.05600, algorithm 1) has no predictor: x / alpha is kept as the level falls, and the chain removes
the noise in excess. Its step is alpha_i = epsilon sigma_i^2 / sigma_L^2 with half the score, so in the terms above r^2
k = step / 2 with step = epsilon / sigma_L^2, the same at every level.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.clips import clip_mean, combine
from audiodiff.diffusion.grids import grid as grids
from audiodiff.diffusion.samplers.ancestral import first_order_step
from audiodiff.diffusion.samplers.sampler import Callback, DenoiserLike, Noise, Sampler, estimate
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.schedule import Level, Schedule


def langevin_row(level: Level, share: float) -> Step:
    """A Langevin step of length epsilon = share sigma^2 at a level; its feature is x0."""
    return Step(level.t, (1 - share,), (share * level.alpha,), noise=math.sqrt(2 * share) * level.sigma)


class PredictorCorrector(Sampler):
    """Predictor-corrector: a sampler of order 1 with Langevin steps after each of its steps but the last.

    Args:
        predictor: a sampler with one network evaluation a step and without history: `Ancestral` (not with learned
            variance), `DDIM`, or a multistep method of order 1.
        corrections: Langevin steps, and network evaluations, between two steps of the predictor.
        snr: r, the ratio of the score's part of a Langevin step to its noise, > 0; below sqrt(1 / 2) if fixed.
        fixed: whether a step's length depends on the level alone, and not on the clip.

    Raises:
        ValueError: corrections < 1, snr out of bounds. In a call: a predictor with history, or as `Sampler`.
    """

    def __init__(self, predictor: Sampler, corrections: int = 1, snr: float = 0.16, fixed: bool = False):
        if corrections < 1:
            raise ValueError(f"a corrector takes at least one step, got corrections = {corrections}")
        if not 0 < snr < math.inf or (fixed and snr**2 >= 0.5):
            raise ValueError(f"snr is a number above 0, and below sqrt(1 / 2) with steps of fixed length, got {snr}")
        self.predictor, self.corrections, self.snr, self.fixed = predictor, corrections, snr, fixed
        super().__init__(predictor.nfe + corrections * (predictor.nfe - 1), predictor.grid)

    @property
    def intervals(self) -> int:
        """How many intervals the predictor's grid has."""
        return self.predictor.intervals

    @property
    def stochastic(self) -> bool:
        """Noise is added in every Langevin step; there is none if the predictor has but one step."""
        return self.predictor.nfe > 1 or self.predictor.stochastic

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """The predictor's."""
        return self.predictor.default_grid(schedule, t_max)

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """The predictor's rows, each followed by the corrector's. Measured steps stand here with their fixed length.

        Raises:
            ValueError: the predictor uses former states or estimates.
        """
        rows = self.predictor.steps(schedule, grid)
        if len(rows) != self.intervals or any(len(row.carry) > 1 or len(row.weights) > 1 for row in rows):
            raise ValueError("a predictor needs steps of one evaluation without history: choose a sampler of order 1")
        table = []
        for row, stop in zip(rows, schedule.levels(grid[1:]), strict=True):
            table += [row, *[langevin_row(stop, 2 * self.snr**2)] * self.corrections]
        return table[: -self.corrections]

    def integrate(
        self, denoiser: DenoiserLike, x1: Tensor, cond: Any, noise: Noise | None, callback: Callback | None
    ) -> tuple[Tensor, Tensor]:
        """As `Sampler.integrate`."""
        if self.fixed or noise is None:
            return super().integrate(denoiser, x1, cond, noise, callback)
        x = x1 if x1.dtype == torch.float64 else x1.float()
        sums = []
        for n, row in enumerate(self.table(denoiser)):
            x0_hat = estimate(denoiser, x, row.t, cond)
            if n % (1 + self.corrections):
                level = denoiser.schedule.level(row.t)
                x = self._correct(x, x0_hat, level, noise(n), getattr(cond, "samples", None))
            else:
                feature = combine(row.feature, (x, x0_hat), fused=True)
                x = combine((*row.carry, *row.weights), (x, feature), fused=True)
                x = torch.add(x, noise(n), alpha=row.noise) if row.noise else x
            sums.append(x.sum())
            if callback is not None:
                callback(n, self.nfe, x, x0_hat)
        return x, torch.isfinite(torch.stack(sums))

    def _correct(self, x: Tensor, x0_hat: Tensor, level: Level, z: Tensor, samples: Tensor | None) -> Tensor:
        """A Langevin step whose length is measured on each clip."""
        pull = combine((level.alpha, -1.0), (x0_hat, x), fused=True)  # sigma^2 times the score
        z = z.to(x)
        ratio = clip_mean(z.square(), samples) / clip_mean(pull.square(), samples)
        share = (2 * self.snr**2 * level.sigma**2 * ratio).to(x).reshape(-1, *(1,) * (x.ndim - 1))
        return x + share * pull + torch.sqrt(2 * share) * level.sigma * z


class AnnealedLangevin(Sampler):
    """Annealed Langevin dynamics: a chain at each level in turn, and E[x0 | x_t] of the last one's end.

    Song and Ermon (arXiv 1907.05600), algorithm 1, whose noise levels are the ratio sigma / alpha and whose state is
    x_t / alpha. From alpha = 0, where there is none, x_t / scale is kept. The last network evaluation is a
    DDIM step to the grid's last time.

    Args:
        nfe: number of network evaluations; where nfe - 1 is no multiple of `repeats`, the first level's chain is
            shorter.
        repeats: Langevin steps at each level, >= 1.
        step: length of a step relative to its level, epsilon / sigma_L^2, in (0, 2); 0.2 as published.
        grid: (ceil((nfe - 1) / repeats) + 1,) times, for nfe = 1 two; None: even log_snr, as published, then 0.

    Raises:
        ValueError: repeats < 1, a step out of bounds, or as `Sampler`.
    """

    def __init__(self, nfe: int, repeats: int = 1, step: float = 0.2, grid: Tensor | None = None):
        if repeats < 1:
            raise ValueError(f"a chain takes at least one step, got repeats = {repeats}")
        if not 0 < step < 2:
            raise ValueError(f"step lies between 0 and 2, got {step}")
        self.repeats, self.step = repeats, step
        super().__init__(nfe, grid)

    @property
    def intervals(self) -> int:
        """How many intervals the grid has: one for each level."""
        return max(1, -(-(self.nfe - 1) // self.repeats))

    @property
    def stochastic(self) -> bool:
        """Noise is added in every Langevin step: in all evaluations but the last."""
        return self.nfe > 1

    def default_grid(self, schedule: Schedule, t_max: float) -> Tensor:
        """Even log_snr from t_max, or where log_snr is -10 if that is later, down to 0."""
        first = max(grids.LOG_SNR_MIN, schedule.level(t_max).log_snr)
        return grids.uniform_log_snr(schedule, self.intervals, first)

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """The chains' rows; the last one of a chain also moves on to the next level."""
        levels = schedule.levels(grid)
        table: list[Step] = []
        for level, following in pairwise(levels):
            row, gain = langevin_row(level, self.step / 2), _gain(level, following)
            moving = Step(row.t, (gain * row.carry[0],), (gain * row.weights[0],), noise=gain * row.noise)
            table += [*[row] * (self.repeats - 1), row if following is levels[-1] else moving]
        surplus = len(table) - (self.nfe - 1)
        return [*table[surplus:], first_order_step(levels[-2], levels[-1])]


def _gain(level: Level, following: Level) -> float:
    """What keeps x_t / alpha, or from alpha = 0 x_t / scale, from one level to the next."""
    return following.alpha / level.alpha if level.alpha else following.scale / level.scale
