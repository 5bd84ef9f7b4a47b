import math

import pytest
import torch
from solver_problems import DIMENSIONS, KINDS, NEARLY_ZERO, SAMPLES, Answer

PURE = math.pi / 2


def moments(problem):
    weights = problem.oracle.weights
    means = torch.stack([component.mean for component in problem.oracle.components])
    variances = torch.stack([component.covariance.diagonal() for component in problem.oracle.components])
    return weights @ means, weights @ (means**2 + variances)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_zero_mean_and_unit_mean_variance(kind):
    mean, power = moments(KINDS[kind](3))
    assert mean.abs().max() < 1e-14
    assert float(power.mean()) == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_member_and_its_noises(kind):
    one, again, other = (KINDS[kind](seed) for seed in (1, 1, 2))
    assert torch.equal(one.noise, again.noise) and one.noise.shape == (SAMPLES, DIMENSIONS)
    assert torch.equal(one.x0(one.noise, 0.6, 0.8), again.x0(again.noise, 0.6, 0.8))
    assert not torch.equal(one.noise, other.noise)
    assert not torch.allclose(one.x0(one.noise, 0.6, 0.8), other.x0(one.noise, 0.6, 0.8))


@pytest.mark.parametrize(("kind", "low", "high"), [("a", 0.1, 1.0), ("b", 0.03, 1.4), ("c", 0.3, 1.0)])
def test_the_mixtures_have_two_components_of_the_stated_spread(kind, low, high):
    problem = KINDS[kind](0)
    assert problem.oracle.weights.tolist() == [0.35, 0.65]
    for component in problem.oracle.components:
        deviations = component.variances.sqrt()
        assert float(deviations[-1] / deviations[0]) == pytest.approx(high / low, rel=1e-9)
        steps = component.variances.log().diff()
        assert torch.allclose(steps, steps[0].expand_as(steps), atol=1e-6)


def test_crowd_has_three_to_five_components():
    counts = {len(KINDS["crowd"](seed).oracle.components) for seed in range(12)}
    assert counts == {3, 4, 5}


def test_gauss_has_condition_1e5_and_other_seeds_another_one():
    deviations = KINDS["gauss"](0).oracle.components[0].variances.sqrt()
    assert float(deviations[0]) == pytest.approx(0.0093, abs=1e-4)
    assert float(deviations[-1]) == pytest.approx(2.928, abs=1e-3)
    others = [KINDS["gauss"](seed).oracle.components[0].variances for seed in range(1, 9)]
    conditions = [float(variances[-1] / variances[0]) for variances in others]
    assert all(0.9e4 < condition < 1.1e6 for condition in conditions) and max(conditions) > 3 * min(conditions)


def test_power_law_falls_to_a_floor():
    for seed in range(4):
        variances = KINDS["power"](seed).oracle.components[0].variances
        assert 10 < float(variances[-1] / variances[0]) < 1.1e4


@pytest.mark.parametrize("kind", ["gauss", "power"])
@pytest.mark.parametrize("stop", [0.0, math.atan(0.0064)])
@pytest.mark.parametrize("start", [PURE, math.atan(160.0)])
def test_the_reference_is_the_closed_form_for_gaussians(kind, start, stop):
    problem = KINDS[kind](1)
    oracle = problem.oracle.components[0]

    def deviation(phi):
        return (math.cos(phi) ** 2 * oracle.variances + math.sin(phi) ** 2).sqrt()

    gain = deviation(stop) / deviation(start) / math.cos(stop)
    exact = (1.5 * problem.noise @ oracle.modes * gain) @ oracle.modes.T
    assert (problem.solution(start, stop, 1.5) - exact).abs().max() < 1e-9


@pytest.mark.parametrize("kind", ["b", "perturbed"])
def test_the_reference_composes(kind):
    problem = KINDS[kind](0)
    middle = problem.solution(PURE, 0.4) * math.cos(0.4)
    whole, tail = problem.solution(PURE, 0.0), problem._solve(0.4, 0.0, middle)
    assert (whole - tail).abs().max() < 1e-8


def test_the_last_stretch_is_short_enough():
    problem = KINDS["b"](0)
    before = problem.solution(PURE, 4 * NEARLY_ZERO)
    assert (problem.solution(PURE, 0.0) - before).abs().max() < 1e-4
    mean = problem.x0(before * math.cos(4 * NEARLY_ZERO), math.cos(4 * NEARLY_ZERO), math.sin(4 * NEARLY_ZERO))
    assert (problem.solution(PURE, 0.0) - (before + mean) / 2).abs().max() < 1e-9


def test_the_perturbed_denoiser_errs_by_five_percent_of_v():
    problem, exact = KINDS["perturbed"](0), KINDS["a"](0)
    z = problem.noise
    for phi in (0.3, 1.0, 1.5):
        alpha, sigma = math.cos(phi), math.sin(phi)
        error = (exact.x0(z, alpha, sigma) - problem.x0(z, alpha, sigma)) / sigma
        assert float(error.square().mean().sqrt()) == pytest.approx(0.05, rel=0.15)
    doubled = problem.x0(2 * z, 2 * math.cos(1.0), 2 * math.sin(1.0))
    assert torch.allclose(doubled, problem.x0(z, math.cos(1.0), math.sin(1.0)), atol=1e-12)
    assert not torch.allclose(problem.solution(PURE, 0.0), exact.solution(PURE, 0.0), atol=1e-2)


def test_errors_are_measured_in_data_deviations():
    problem = KINDS["a"](0)
    y = problem.solution(PURE, 0.0)
    exact = problem.errors(Answer(y, PURE, 0.0, 1))
    assert (exact.median, exact.rms, exact.flips) == (0, 0, 0)
    shifted = y + 0.01
    shifted[:100] += 0.02
    found = problem.errors(Answer(shifted, PURE, 0.0, 1))
    assert found.median == pytest.approx(0.01, rel=1e-9)
    assert found.rms == pytest.approx(math.sqrt((100 * 0.03**2 + 412 * 0.01**2) / 512), rel=1e-9)


def test_flips_count_samples_in_another_component():
    problem = KINDS["a"](0)
    y = problem.solution(PURE, 0.0).clone()
    modes = problem._modes(y, 0.0)
    here = (modes == 0).nonzero().flatten()[:8]
    y[here] = problem.oracle.components[1].mean
    assert problem.errors(Answer(y, PURE, 0.0, 1)).flips == pytest.approx(100 * 8 / 512)
    shares = torch.bincount(modes).double() / SAMPLES
    assert torch.allclose(shares, problem.oracle.weights, atol=0.08)


def test_one_component_has_no_flips_and_divergence_is_infinite():
    problem = KINDS["gauss"](0)
    y = problem.solution(PURE, 0.0)
    assert math.isnan(problem.errors(Answer(y, PURE, 0.0, 1)).flips)
    found = problem.errors(Answer(y * math.nan, PURE, 0.0, 1))
    assert found.median == found.rms == math.inf and math.isnan(found.flips)
