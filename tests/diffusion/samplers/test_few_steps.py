"""Every preset at every number of steps on every schedule, on an exact denoiser of normal data.

A sampler is linear on centered normal data, so the standard deviation of its samples is known without drawing any. Its
error must stay below the data's own standard deviation, which is what returning the mean alone would cost, and from 20
steps on below half of it for data of the unit or half of it; below 0.4 for faint data, of a tenth of the unit.
"""

import math
from itertools import pairwise

import pytest
import torch

from audiodiff.diffusion.samplers.presets import NAMES, PRESETS, build
from audiodiff.diffusion.samplers.sampler import integrate
from audiodiff.diffusion.schedules.adapted import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.schedules.discrete import DiscreteSchedule, cosine_betas, linear_betas, zero_terminal_snr
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import (
    Cosine,
    LinearBeta,
    OffsetCosine,
    RectifiedFlow,
    Sigmoid,
    SubVP,
    VarianceExploding,
)
from audiodiff.diffusion.variance import Posterior

SCHEDULES = {
    "cosine": Cosine(),
    "offset_cosine": OffsetCosine(),
    "linear_beta": LinearBeta(),
    "sub_vp": SubVP(),
    "variance_exploding": VarianceExploding(),
    "rectified_flow": RectifiedFlow(),
    "sigmoid": Sigmoid(),
    "less_noise": ShiftedLogSNR(Cosine(), 2.0),
    "more_noise": ShiftedLogSNR(Cosine(), -4.0),
    "scaled_input": ScaledInput(Cosine(), 0.3),
    "linear_betas": DiscreteSchedule(linear_betas()),
    "cosine_betas": DiscreteSchedule(cosine_betas()),
    "zero_terminal_snr": DiscreteSchedule(zero_terminal_snr(linear_betas())),
    "learned": LearnedSchedule().requires_grad_(False),
}
STDS = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.float64)
# A learned variance is no sampler's: exact denoisers have none.
TABULAR = [name for name in NAMES if name != "ddpm_learned"]
FEW = [*range(1, 8), 20]


class _Denoiser:
    """E[x0 | x_t] of independent normal data of the standard deviations STDS, (..., 4)."""

    def __init__(self, schedule, t_max):
        self.schedule, self.t_max = schedule, t_max

    def __call__(self, x, t, cond=None):
        level = self.schedule.level(t)
        return level.alpha * STDS**2 / (level.alpha**2 * STDS**2 + level.sigma**2) * x


def _output_stds(sampler, schedule, t_max):
    """(4,) from unit inputs: the start, and the noise of each step."""
    denoiser = _Denoiser(schedule, t_max)
    table = sampler.table(denoiser)
    unit = torch.eye(len(table) + 1, dtype=torch.float64)[..., None].expand(-1, -1, len(STDS))
    start = sampler.noise_scale(denoiser) * unit[:, 0]
    return integrate(table, denoiser, start, None, lambda step: unit[:, step + 1])[0].square().sum(0).sqrt()


def _check(name, steps):
    for label, schedule in SCHEDULES.items():
        # Where denoisers start, and where those that predict noise do.
        for t_max in {schedule.t_max, min(schedule.t_max, float(schedule.t_from_log_snr(-10.0)))}:
            error = (_output_stds(build(name, steps), schedule, t_max) - STDS).abs()
            case = f"{name} {steps} {label} from {t_max:.4f}: {error.tolist()}"
            assert bool((error[1:] <= STDS[1:] * (1 + 1e-9)).all()) and error[0] < 0.4, case
            assert steps < 20 or bool((error[1:3] < STDS[1:3] / 2).all()), case


@pytest.mark.parametrize("name", TABULAR)
def test_samples_are_as_large_as_the_data_at_few_steps(name):
    for steps in FEW:
        if steps >= PRESETS[name].min_nfe:
            _check(name, steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABULAR)
def test_samples_are_as_large_as_the_data_at_any_number_of_steps(name):
    for steps in (*range(9, 51), 64, 100):
        _check(name, steps)


@pytest.mark.parametrize("label", ["cosine", "linear_beta", "variance_exploding", "cosine_betas"])
def test_heun_is_accurate_at_few_steps(label):
    """It answered a standard deviation of 74 for 0.5 at five steps on the cosine schedule."""
    schedule = SCHEDULES[label]
    for steps, most in [(4, 0.35), (5, 0.35), (6, 0.25), (8, 0.15), (12, 0.08), (20, 0.04), (50, 0.01)]:
        found = _output_stds(build("heun", steps), schedule, schedule.t_max)
        assert float(((found - STDS).abs() / STDS)[1:].max()) < most, steps


def test_large_variance_is_that_of_standard_normal_data_on_any_schedule():
    """Every step keeps the standard deviation of the noisy data, whatever that is; the last one adds no noise."""
    for schedule in SCHEDULES.values():
        for steps in (3, 10):
            level = schedule.level(float(build("ddpm_large", steps).default_grid(schedule, schedule.t_max)[-2]))
            expected = level.alpha / level.scale  # of E[x0 | x_t] there
            found = _output_stds(build("ddpm_large", steps), schedule, schedule.t_max)[2]
            assert float(found) == pytest.approx(expected, rel=0.01)


def test_large_variance_is_untouched_where_variance_is_preserved():
    """To the last bit: scales that differ by rounding alone do not change it."""
    for label in ("cosine", "linear_beta", "sigmoid"):
        schedule = SCHEDULES[label]
        sampler = build("ddpm_large", 20)
        grid = sampler.default_grid(schedule, schedule.t_max)
        for row, (start, stop) in zip(
            sampler.steps(schedule, grid)[:-1], pairwise(schedule.levels(grid)), strict=False
        ):
            assert row.noise == math.exp(Posterior.between(start, stop).log_large / 2)
