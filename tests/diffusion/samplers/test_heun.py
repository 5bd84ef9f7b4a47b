"""Heun with churn against the published algorithm, written out."""

import math
from itertools import pairwise

import pytest
import torch

from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.noise import step_noise
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.heun import Heun
from audiodiff.diffusion.samplers.singlestep import ddim_rows
from audiodiff.diffusion.schedules.schedule import Cosine, VarianceExploding


def _edm(denoiser, x, times, noise, churn=0.0, churn_min=0.0, churn_max=math.inf, churn_noise=1.0, first_step=True):
    """Karras et al. (arXiv 2206.00364), algorithm 2, on y = x / alpha with the noise level sigma / alpha.

    Without a churned first step, whose noise there is none for.
    """
    schedule = denoiser.schedule
    level = [float(schedule.sigma(t) / schedule.alpha(t)) for t in times]

    def estimate(y, u):
        t = schedule.t_from_log_snr(-2 * math.log(u))
        return denoiser(float(schedule.alpha(t)) * y, float(t))

    y = x / float(schedule.alpha(times[0]))
    calls, count = 0, len(level) - 1
    for i in range(count):
        gamma = min(churn / count, math.sqrt(2) - 1) if churn_min <= level[i] <= churn_max and i else 0.0
        raised = level[i] + gamma * level[i]
        if gamma:
            y = y + math.sqrt(raised**2 - level[i] ** 2) * churn_noise * noise(calls - 1)
        d = (y - estimate(y, raised)) / raised
        after = y + (level[i + 1] - raised) * d
        calls += 1
        if level[i + 1] and not (i == 0 and not first_step):
            after = y + (level[i + 1] - raised) * (d + (after - estimate(after, level[i + 1])) / level[i + 1]) / 2
            calls += 1
        y = after
    return y, calls


CHURNS = [{}, {"churn": 1.5}, {"churn": 40.0, "churn_noise": 1.007}, {"churn": 2.0, "churn_min": 0.1, "churn_max": 3.0}]


@pytest.mark.parametrize("churn", CHURNS)
@pytest.mark.parametrize("schedule", [Cosine(), VarianceExploding()], ids=["cosine", "exploding"])
def test_heun_is_edm_algorithm_2(churn, schedule, mixture, x1):
    mixture.schedule = schedule
    times = grid.karras(schedule, 7, log_snr_min=-6)
    drawn = step_noise(range(len(x1)), 1, 6)
    x1 = x1 * float(schedule.scale(times[0]))

    def noise(step):
        return drawn(step).double()

    for nfe in (13, 14):
        even = nfe == 14
        ends = times if not even else grid.karras(schedule, 8, log_snr_min=-6)
        heun = Heun(nfe, ends, **churn)
        expected, calls = _edm(mixture, x1, ends, noise, **churn, first_step=not even)
        assert calls == nfe
        assert torch.allclose(heun(mixture, x1, noise=noise), expected, rtol=0, atol=1e-12)


def _output_variance(sampler, oracle, scale):
    """Exact: a sampler is linear on a centered Gaussian, so its response to each unit input is a gain."""
    inputs = torch.eye(sampler.nfe + 1, dtype=torch.float64)
    output = sampler(oracle, scale * inputs[:, :1], noise=lambda step: inputs[:, step + 1 : step + 2])
    return float(output.square().sum())


@pytest.mark.parametrize("churn", [0.7, 40.0])
@pytest.mark.parametrize("std", [0.1, 0.5, 1.5])
def test_churned_variance_is_the_recursion(std, churn, schedule):
    """For data of one standard deviation each trapezoid is a gain, and each churn adds a variance."""
    times = grid.karras(schedule, 9, log_snr_min=-5)
    level = [float(schedule.sigma(t) / schedule.alpha(t)) for t in times]
    variance = float(schedule.alpha(times[0])) ** -2
    for i, (u, after) in enumerate(pairwise(level)):
        raised = u * (1 + min(churn / 9, math.sqrt(2) - 1)) if i else u
        slope = raised / (std**2 + raised**2)
        gain = euler = 1 + (after - raised) * slope
        if after:
            gain = 1 + (after - raised) / 2 * (slope + after / (std**2 + after**2) * euler)
        variance = gain**2 * (variance + raised**2 - u**2)
    oracle = GaussianOracle(torch.zeros(1), torch.tensor([[std**2]], dtype=torch.float64), schedule)
    assert _output_variance(Heun(17, times, churn=churn), oracle, 1.0) == pytest.approx(variance, rel=1e-10)


def test_churn_stays_below_the_first_time():
    """On a grid so fine that the raised level would lie above it."""
    schedule = Cosine()
    times = torch.tensor([0.7, 0.68, 0.5, 0.0], dtype=torch.float64)
    rows = Heun(5, times, churn=100.0).steps(schedule, times)
    assert [row.t for row in rows] == pytest.approx([0.7, 0.68, 0.7, 0.5, rows[4].t], abs=1e-12)
    ratio = math.tan(rows[4].t * math.pi / 2)
    assert ratio == pytest.approx(math.sqrt(2) * math.tan(0.5 * math.pi / 2), rel=1e-12)
    assert [row.noise > 0 for row in rows] == [False, True, False, True, False]


@pytest.mark.parametrize("nfe, calls", [(1, [1]), (2, [1, 1]), (3, [2, 1]), (4, [1, 2, 1]), (9, [2, 2, 2, 2, 1])])
def test_heun_spends_every_call(nfe, calls, schedule):
    heun = Heun(nfe)
    assert heun.nfe_per_interval == calls and heun.intervals == len(calls)
    for t_max in (1.0, 0.9):
        times = heun.default_grid(schedule, t_max)
        assert times[0] == pytest.approx(t_max, abs=1e-12) and times[-1] == 0 and len(times) == len(calls) + 1
        assert len(heun.steps(schedule, times)) == nfe


def test_heun_default_grid_is_balanced(schedule):
    for nfe in (1, 2, 9):
        heun = Heun(nfe)
        assert torch.equal(heun.default_grid(schedule, 0.9), grid.balanced(schedule, heun.intervals, 0.9))


def test_a_trapezoid_that_is_too_wide_becomes_ddim_steps():
    """From sigma / alpha = 148 to 1 a trapezoid leaves noise of 20 times the data's standard deviation."""
    schedule = Cosine()
    wide = torch.tensor([float(schedule.t_from_log_snr(-10.0)), 0.5, 0.0], dtype=torch.float64)
    start, stop = schedule.levels(wide)[:2]
    rows = Heun(3, wide).steps(schedule, wide)
    assert rows[:2] == ddim_rows(schedule, start, stop, 2)
    narrow = torch.tensor([0.6, 0.5, 0.0], dtype=torch.float64)
    assert len(Heun(3, narrow).steps(schedule, narrow)[1].carry) == 2


@pytest.mark.parametrize("predict, coordinate", [("epsilon", None), ("x0", None), ("v", None), ("epsilon", "angle")])
def test_heun_is_of_order_two(predict, coordinate, gaussian, x1):
    """Down to where the Euler step to 0 no longer counts."""

    def make(n):
        inner = grid.uniform_log_snr(gaussian.schedule, n - 1, -5.0, 24.0, to_zero=False)
        return torch.cat([inner, torch.zeros(1, dtype=torch.float64)])

    errors = []
    for n in (60, 120):
        output = Heun(2 * n - 1, make(n), predict, coordinate)(gaussian, x1[:8])
        exact = gaussian.flow(x1[:8], float(make(n)[0]), 0.0)
        errors.append(float((output - exact).square().mean().sqrt()))
    assert 1.85 < math.log2(errors[0] / errors[1]) < 2.2


def test_batch_is_singles(mixture, x1):
    sampler = Heun(7, churn=3.0)
    batch = sampler(mixture, x1[:8], noise=step_noise(range(8), 1, 6))
    for i in range(8):
        single = sampler(mixture, x1[i : i + 1], noise=step_noise([i], 1, 6))
        assert torch.allclose(single, batch[i : i + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Heun(0), "nfe >= 1"),
        (lambda: Heun(5, predict="score"), "predict"),
        (lambda: Heun(5, churn=-0.1), "churn"),
        (lambda: Heun(5, churn_noise=-0.1), "churn_noise"),
        (lambda: Heun(5, grid=torch.tensor([1.0, 0.5, 0.0])), "4 times, got 3"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_are_attributes():
    heun = Heun(3, churn=1.0, churn_min=0.1, churn_max=5.0, churn_noise=1.01)
    assert (heun.churn, heun.churn_min, heun.churn_max, heun.churn_noise) == (1.0, 0.1, 5.0, 1.01)
    assert (Heun(3).churn, Heun(3).churn_min, Heun(3).churn_max, Heun(3).churn_noise) == (0, 0, math.inf, 1)
    assert not Heun(3).stochastic and heun.stochastic
    Heun(3, churn_noise=0.0)
