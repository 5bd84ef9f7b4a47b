import math
from itertools import pairwise

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.likelihood.bound import bound_grid, variational_bound
from audiodiff.diffusion.likelihood.flow import log_angle
from audiodiff.diffusion.objective import Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, VarianceExploding
from audiodiff.diffusion.variance import LearnedVariance

SCHEDULES = [Cosine(), LinearBeta(), VarianceExploding(), RectifiedFlow()]
VARIANCES = torch.tensor([0.2, 0.7, 1.0, 1.3, 2.0, 0.05], dtype=torch.float64)


@pytest.fixture
def diagonal(gaussian):
    return GaussianOracle(gaussian.mean, torch.diag(VARIANCES), Cosine())


@pytest.fixture
def draw(generator):
    """step -> (32, 1, 6) standard normal, the same at each call."""
    noise = torch.randn(40, 32, 1, 6, generator=generator, dtype=torch.float64)
    return lambda step: noise[step]


def _network(x_t, log_snr, cond):
    return x_t.sin() * 0.5


def _chain(level, next_level, x_t, x0):
    """q(x_s | x_t, x0) by Bayes' rule from q(x_t | x_s) and q(x_s | x0)."""
    slope = level.alpha / next_level.alpha
    spread = level.sigma**2 - slope**2 * next_level.sigma**2
    precision = 1 / next_level.sigma**2 + slope**2 / spread
    mean = (next_level.alpha * x0 / next_level.sigma**2 + slope * x_t / spread) / precision
    return Normal(mean, precision**-0.5), spread**0.5


def _expected_terms(oracle, grid, variance):
    """The mean of each term over data and noise, for an oracle with diagonal covariance."""
    levels = oracle.schedule.levels(grid)
    error = [oracle.variances * a.sigma**2 / (a.alpha**2 * oracle.variances + a.sigma**2) for a in levels]
    first, last = levels[0], levels[-1]
    kept = (first.alpha / first.scale) ** 2
    terms = [0.5 * (kept * (oracle.mean.square().sum() + oracle.variances.sum() - 6) - 6 * math.log(1 - kept))]
    for n, (t, s) in enumerate(pairwise(levels)):
        drop = 1 - math.exp(t.log_snr - s.log_snr)
        small, large = s.sigma**2 * drop, t.sigma**2 * drop
        model = small if variance == "small" else large
        mismatch = small / model - 1 - math.log(small / model)
        terms.append(0.5 * (6 * mismatch + ((s.alpha * drop) ** 2 * error[n] / model).sum()))
    width = last.sigma / last.alpha
    terms.append(0.5 * error[-1].sum() / width**2 + 6 * math.log(width * math.sqrt(2 * math.pi)))
    return torch.stack([torch.as_tensor(term) for term in terms])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("variance", ["small", "large"])
def test_each_term_is_its_divergence(schedule, variance, x1, draw):
    denoiser = Denoiser(_network, schedule, V())
    grid = torch.tensor([0.95, 0.7, 0.3, 0.05], dtype=torch.float64)
    terms = variational_bound(denoiser, x1, grid, draw, variance=variance)
    assert terms.shape == (32, 5) and terms.dtype == torch.float64
    levels = schedule.levels(grid)
    x_t = [level.alpha * x1 + level.sigma * draw(n) for n, level in enumerate(levels)]
    prior = kl_divergence(Normal(levels[0].alpha * x1, levels[0].sigma), Normal(0 * x1, levels[0].scale))
    expected = [prior]
    for n, (t, s) in enumerate(pairwise(levels)):
        truth, large = _chain(t, s, x_t[n], x1)
        model, _ = _chain(t, s, x_t[n], denoiser(x_t[n], t.t))
        expected.append(kl_divergence(truth, Normal(model.mean, truth.stddev if variance == "small" else large)))
    decoder = Normal(denoiser(x_t[3], 0.05), levels[3].sigma / levels[3].alpha)
    expected.append(-decoder.log_prob(x1))
    assert torch.allclose(terms, torch.stack([e.sum((1, 2)) for e in expected], 1), rtol=1e-9, atol=1e-9)


def test_learned_variance(x1, draw):
    def network(x_t, log_snr, cond):
        return torch.cat([x_t.sin() * cond, x_t.cos()], 1)

    denoiser = Denoiser(network, Cosine(), LearnedVariance(V()))
    grid = torch.tensor([1.0, 0.6, 0.2], dtype=torch.float64)
    terms = variational_bound(denoiser, x1, grid, draw, cond=0.5, variance="learned")
    levels = Cosine().levels(grid)
    for n, (t, s) in enumerate(pairwise(levels)):
        x_t = t.alpha * x1 + t.sigma * draw(n)
        mean, log_variance = denoiser.posterior(x_t, t.t, s.t, 0.5)
        divergence = kl_divergence(_chain(t, s, x_t, x1)[0], Normal(mean, (log_variance / 2).exp()))
        assert torch.allclose(terms[:, n + 1], divergence.sum((1, 2)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_terms_of_a_gaussian_in_the_mean(variance, diagonal, generator):
    count = 20000
    grid = bound_grid(diagonal, 8, log_snr_max=8.0)
    noise = torch.randn(8, count, 1, 6, generator=generator, dtype=torch.float64)
    terms = variational_bound(
        diagonal, diagonal.sample(count, generator)[:, None], grid, noise.__getitem__, variance=variance
    )
    expected = _expected_terms(diagonal, grid, variance)
    deviation = (terms.mean(0) - expected).abs() * math.sqrt(count)
    assert bool((deviation <= 4 * terms.std(0) + 1e-9).all())
    assert terms[:, 0].abs().max() == 0


@pytest.mark.parametrize("variance", ["small", "large"])
def test_bound_tends_to_the_entropy_from_above(variance, diagonal):
    """The gap halves when the steps do."""
    entropy = 0.5 * float((VARIANCES * 2 * math.pi * math.e).log().sum())
    gaps = [
        float(_expected_terms(diagonal, bound_grid(diagonal, steps), variance).sum()) - entropy
        for steps in (101, 201, 401, 801)
    ]
    assert all(gap > 0 for gap in gaps)
    assert abs(2 * gaps[-1] - gaps[-2]) < 0.05 * gaps[-1]
    assert [a / b for a, b in pairwise(gaps)] == pytest.approx([2, 2, 2], abs=0.2)


def test_bound_of_one_signal_is_above_its_likelihood(mixture, generator):
    x0 = mixture.sample(1, generator)[:, None].expand(4000, 1, 6)
    truth = -float(mixture.log_density(x0[:1, 0]))
    means = []
    for steps in (20, 80):
        noise = torch.randn(steps, 4000, 1, 6, generator=generator, dtype=torch.float64)
        bound = variational_bound(mixture, x0, bound_grid(mixture, steps), noise.__getitem__).sum(1)
        means.append(float(bound.mean()))
        assert means[-1] > truth - 4 * float(bound.std()) / math.sqrt(4000)
    assert truth < means[1] < means[0] and means[1] - truth < 0.5 * (means[0] - truth)


def test_cells_of_a_lattice(x1, draw):
    """The probability of the cell, by the distribution function where that has digits, and finite where not."""
    denoiser = Denoiser(_network, Cosine(), V())
    grid = torch.tensor([0.5, 0.1], dtype=torch.float64)
    level = Cosine().level(0.1)
    spread = level.sigma / level.alpha
    x0_hat = denoiser(level.alpha * x1 + level.sigma * draw(1), 0.1)
    decoder = Normal(x0_hat, spread)
    found = variational_bound(denoiser, x1, grid, draw, cell=0.3)[:, -1]
    probability = decoder.cdf(x1 + 0.15) - decoder.cdf(x1 - 0.15)
    likely = (probability > 1e-8).all(-1).all(-1)
    assert int(likely.sum()) > 3
    assert torch.allclose(found[likely], -probability.log().sum((1, 2))[likely], rtol=1e-6)
    assert bool(found.isfinite().all())
    fine = variational_bound(denoiser, x1, grid, draw, cell=1e-4)[:, -1]
    density = variational_bound(denoiser, x1, grid, draw)[:, -1]
    assert torch.allclose(fine, density - 6 * math.log(1e-4), rtol=0, atol=2e-3)
    far = variational_bound(
        Denoiser(_network, Cosine(), V()), 50 * torch.ones(1, 1, 1), grid, lambda n: torch.zeros(1), cell=0.3
    )
    assert bool(far.isfinite().all())


def test_float32_is_summed_in_float64(x1, draw):
    denoiser = Denoiser(_network, Cosine(), V())
    grid = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    single, double = (variational_bound(denoiser, x, grid, draw) for x in (x1.float(), x1))
    assert single.dtype == torch.float64
    assert torch.allclose(single, double, rtol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_grid_is_even_in_the_logarithm_of_half_the_angle(schedule, gaussian):
    oracle = GaussianOracle(gaussian.mean, gaussian.covariance, schedule)
    grid = bound_grid(oracle, 9)
    assert grid.dtype == torch.float64 and len(grid) == 9 and float(grid[0]) == 1.0
    levels = schedule.levels(grid)
    assert levels[-1].log_snr == pytest.approx(24)
    gaps = torch.tensor([log_angle(level.log_snr) for level in levels]).diff()
    assert torch.allclose(gaps, gaps[0].expand_as(gaps), rtol=1e-4)


def test_grid_ends_where_the_schedule_does(gaussian):
    learned = LearnedSchedule(log_snr_max=9.0)
    grid = bound_grid(GaussianOracle(gaussian.mean, gaussian.covariance, learned), 5)
    assert float(grid[-1]) == pytest.approx(0, abs=1e-9)
    epsilon = Denoiser(_network, Cosine(), Epsilon())
    assert float(bound_grid(epsilon, 5)[0]) == epsilon.t_max


def test_bad_grids(gaussian, x1, draw):
    with pytest.raises(ValueError, match="at least 2 steps"):
        bound_grid(gaussian, 1)
    assert len(bound_grid(gaussian, 2)) == 2
    linear = Denoiser(_network, LinearBeta(), V())
    with pytest.raises(ValueError, match="log_snr_max above -10"):
        bound_grid(linear, 2, log_snr_max=-10.1)
    with pytest.raises(ValueError, match="exclusive"):
        variational_bound(gaussian, x1, torch.tensor([0.9, 0.0]), draw)
    epsilon = Denoiser(_network, Cosine(), Epsilon())
    with pytest.raises(ValueError, match="t_max"):
        variational_bound(epsilon, x1, torch.tensor([1.0, 0.1]), draw)
    with pytest.raises(ValueError):
        variational_bound(gaussian, x1, torch.tensor([0.1, 0.9]), draw)


def test_bad_choices(gaussian, x1, draw):
    grid = torch.tensor([0.9, 0.1])
    with pytest.raises(ValueError, match="variance is one of small, large, learned"):
        variational_bound(gaussian, x1, grid, draw, variance="medium")
    for denoiser in (gaussian, Denoiser(_network, Cosine(), V())):
        with pytest.raises(ValueError, match="no learned variance"):
            variational_bound(denoiser, x1, grid, draw, variance="learned")
    for cell in (0.0, -1.0):
        with pytest.raises(ValueError, match="positive width"):
            variational_bound(gaussian, x1, grid, draw, cell=cell)
    with pytest.raises(ValueError, match="condition has 3 clips"):
        variational_bound(gaussian, x1, grid, draw, torch.zeros(3))


def test_a_grid_that_starts_too_high_is_refused():
    """The first time decides, and the message names the first and the last."""
    oracle = GaussianOracle(torch.zeros(2), torch.eye(2), Cosine())
    denoiser = Denoiser(oracle.as_network(Epsilon()), Cosine(), Epsilon())
    x0 = torch.zeros(1, 1, 2, dtype=torch.float64)
    times = torch.tensor([0.999, 0.5, 0.25, 0.125], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"got 0\.999 to 0\.125"):
        variational_bound(denoiser, x0, times, lambda step: x0)
