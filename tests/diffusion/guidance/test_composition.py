"""Composed conditions: densities in closed form, cost, and weights that change along the signal."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.diffusion.guidance.composition import Composed, Composition, window_weights
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.schedules.schedule import Cosine, RectifiedFlow
from audiodiff.diffusion.windowed import Windowed

EYE = torch.eye(6, dtype=torch.float64)
GRID = torch.linspace(0.9, 0, 41)


class Conditional:
    """One oracle for each condition, an index (B,); counts its calls."""

    t_max = 0.9

    def __init__(self, *oracles):
        self.oracles, self.schedule, self.calls = oracles, oracles[0].schedule, 0

    def __call__(self, x_t, t, cond=None):
        self.calls += 1
        return self.oracles[int(cond[0])](x_t, t)


def which(number, clips=32):
    return torch.full((clips,), number)


def gaussians(generator, schedule=None, covariance=None, count=3):
    oracles = []
    for _ in range(count):
        root = torch.randn(6, 6, generator=generator, dtype=torch.float64) / 3
        own = root @ root.T + 0.2 * EYE if covariance is None else covariance
        mean = torch.randn(6, generator=generator, dtype=torch.float64)
        oracles.append(GaussianOracle(mean, own, schedule or Cosine()))
    return Conditional(*oracles)


def score(oracle, x_t, t):
    level = oracle.schedule.level(t)
    noisy = level.alpha**2 * oracle.covariance + level.sigma**2 * EYE
    return torch.linalg.solve(noisy, (level.alpha * oracle.mean - x_t[:, 0]).T).T[:, None]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 0.3), (1.5, -0.5), (2.0, 0.0)])
@pytest.mark.parametrize("schedule", [Cosine(), RectifiedFlow()], ids=["cosine", "flow"])
@pytest.mark.parametrize("t", [0.2, 0.8])
def test_the_score_is_that_of_the_composed_density(weights, schedule, t, generator, x1):
    """p(x_t) prod (p(x_t | c_i) / p(x_t))^w_i."""
    models = gaussians(generator, schedule)
    base, *conditional = (score(oracle, x1, t) for oracle in models.oracles)
    composed = base + sum(w * (one - base) for w, one in zip(weights, conditional, strict=True))
    level = schedule.level(t)
    expected = (x1 + level.sigma**2 * composed) / level.alpha
    found = Composed(models)(x1, t, Composition((which(1), which(2)), weights, which(0)))
    assert torch.allclose(found, expected, rtol=0, atol=1e-9)


def test_samples_of_a_conjunction_have_its_mean(generator, x1):
    """Where covariances are equal the composed density is Gaussian at every noise level, and known."""
    models = gaussians(generator, covariance=0.3 * EYE)
    base, one, other = (oracle.mean for oracle in models.oracles)
    target = GaussianOracle(base + (one - base) + (other - base), 0.3 * EYE, Cosine())
    composed = Composed(models), Composition((which(1), which(2)), (1.0, 1.0), which(0))
    found, expected = (DDIM(40, grid=GRID)(d, x1, c) for d, c in (composed, (target, None)))
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_guidance_comes_around_a_composition(generator, x1):
    models = gaussians(generator, covariance=0.3 * EYE)
    base, one, other = (oracle.mean for oracle in models.oracles)
    target = GaussianOracle(base + 3 * (0.7 * one + 0.3 * other - base), 0.3 * EYE, Cosine())
    guided = ClassifierFree(Composed(models), 3.0, which(0))
    found = DDIM(40, grid=GRID)(guided, x1, Composition((which(1), which(2)), (0.7, 0.3)))
    assert torch.allclose(found, DDIM(40, grid=GRID)(target, x1), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("weights", "calls"), [((0.7, 0.3), 2), ((1.0, 1.0), 3), ((1.0, 0.0), 1), ((0.0, 0.0), 1)])
def test_an_evaluation_for_each_weight_that_is_not_zero(weights, calls, generator, x1):
    models = gaussians(generator)
    Composed(models)(x1, 0.5, Composition((which(1), which(2)), weights, which(0)))
    assert models.calls == calls
    assert torch.equal(Composed(models)(x1, 0.5, which(2)), models(x1, 0.5, which(2)))  # no composition


def test_each_condition_holds_in_its_part_of_the_signal(generator, x1):
    """Where positions are independent, a sample has one condition's mean before the border, the other's after it."""
    models = gaussians(generator, covariance=0.3 * EYE)
    _, one, other = (oracle.mean for oracle in models.oracles)
    positions = torch.arange(6) + 0.5
    weights = [window_weights(positions, -math.inf, 2, 0), window_weights(positions, 2, math.inf, 0)]
    found = DDIM(40, grid=GRID)(Composed(models), x1, Composition((which(1), which(2)), weights))
    target = GaussianOracle(torch.where(positions < 2, one, other), 0.3 * EYE, Cosine())
    assert torch.allclose(found, DDIM(40, grid=GRID)(target, x1), rtol=0, atol=1e-10)
    assert models.calls == 80  # the base has no weight anywhere


def test_it_wraps_windows(generator, x1):
    models = gaussians(generator, covariance=0.3 * EYE)
    condition = Composition((which(1), which(2)), (0.4, 0.6))
    plain, windowed = (Composed(d)(x1, 0.5, condition) for d in (models, Windowed(models, 6)))
    assert torch.equal(plain, windowed)


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=4, unique=True),
    st.floats(0, 2),
)
def test_weights_of_consecutive_windows_add_up_to_one(borders, fade):
    edges = [-math.inf, *sorted(borders), math.inf]
    positions = torch.linspace(-1, 11, 200)
    weights = [window_weights(positions, start, end, fade) for start, end in pairwise(edges)]
    torch.testing.assert_close(sum(weights), torch.ones(200))
    composition = Composition([None] * len(weights), weights)
    assert not composition.rest.any()


def test_what_cannot_be_composed(generator, x1):
    with pytest.raises(ValueError, match="2 conditions and 1 weights"):
        Composition((1, 2), (1.0,))
    with pytest.raises(ValueError, match="0 conditions"):
        Composition((), ())
    with pytest.raises(ValueError, match="condition has 3 clips"):
        Composed(gaussians(generator))(x1, 0.5, Composition((which(1), which(2, 3)), (1.0, 1.0), which(0)))
