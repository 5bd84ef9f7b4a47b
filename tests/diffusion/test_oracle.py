import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V
from audiodiff.diffusion.oracle import GaussianOracle, MixtureOracle
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, SubVP, VarianceExploding

SCHEDULES = [Cosine(), LinearBeta(), SubVP(), VarianceExploding(), RectifiedFlow()]


def _column(value):
    return torch.tensor([[value]], dtype=torch.float64)


def test_gaussian_posterior_by_bayes_on_a_fine_grid():
    """E[x0 | x_t] by numerical integration of prior times likelihood."""
    mean, variance = 0.7, 0.4
    oracle = GaussianOracle(_column(mean)[0], _column(variance), Cosine())
    x0 = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    for t in (0.1, 0.5, 0.9):
        alpha, sigma = float(Cosine().alpha(t)), float(Cosine().sigma(t))
        weight = torch.exp(-((x0 - mean) ** 2) / (2 * variance) - (1.3 - alpha * x0) ** 2 / (2 * sigma**2))
        assert abs(float(oracle(_column(1.3), t)) - float((weight * x0).sum() / weight.sum())) < 1e-12


def test_mixture_posterior_by_bayes_on_a_fine_grid():
    weights, means, variances = [0.3, 0.7], [-1.0, 1.5], [0.2, 0.05]
    oracle = MixtureOracle(
        torch.tensor(weights, dtype=torch.float64),
        torch.tensor(means, dtype=torch.float64)[:, None],
        torch.tensor(variances, dtype=torch.float64)[:, None, None],
        Cosine(),
    )
    x0 = torch.linspace(-8, 8, 40001, dtype=torch.float64)
    prior = sum(
        w / math.sqrt(v) * torch.exp(-((x0 - m) ** 2) / (2 * v))
        for w, m, v in zip(weights, means, variances, strict=True)
    )
    for t in (0.3, 0.6, 0.9):
        alpha, sigma = float(Cosine().alpha(t)), float(Cosine().sigma(t))
        weight = prior * torch.exp(-((0.4 - alpha * x0) ** 2) / (2 * sigma**2))
        assert abs(float(oracle(_column(0.4), t)) - float((weight * x0).sum() / weight.sum())) < 1e-11


def test_ends(gaussian, mixture, x1):
    for oracle in (gaussian, mixture):
        assert torch.allclose(oracle(x1, 0.0), x1, rtol=0, atol=1e-12)
        assert oracle.t_max == 1.0
    assert torch.allclose(gaussian(x1, 1.0), gaussian.mean.expand_as(x1))
    mean = sum(w * c.mean for w, c in zip(mixture.weights, mixture.components, strict=True))
    assert torch.allclose(mixture(x1, 1.0), mean.expand_as(x1))


def test_one_component_is_a_gaussian(gaussian, x1):
    mixture = MixtureOracle(
        torch.ones(1, dtype=torch.float64), gaussian.mean[None], gaussian.covariance[None], Cosine()
    )
    assert torch.allclose(mixture(x1, 0.4), gaussian(x1, 0.4), rtol=0, atol=1e-13)


def test_flow_solves_the_ode(gaussian, x1):
    """d x / d phi = v along the flow, phi = pi t / 2, by central differences; and the flow is a semigroup."""
    t, step = 0.4, 1e-5
    slope = (gaussian.flow(x1, t, t + step) - gaussian.flow(x1, t, t - step)) / (math.pi * step)
    alpha, sigma = Cosine().alpha(t), Cosine().sigma(t)
    v = (alpha * x1 - gaussian(x1, t)) / sigma
    assert torch.allclose(slope, v, rtol=0, atol=1e-8)
    assert torch.allclose(gaussian.flow(gaussian.flow(x1, 1.0, 0.3), 0.3, 0.0), gaussian.flow(x1, 1.0, 0.0), atol=1e-12)


def test_flow_carries_noise_to_the_data(gaussian):
    identity = torch.eye(6, dtype=torch.float64)
    center = gaussian.flow(torch.zeros(1, 6, dtype=torch.float64), 1.0, 0.0)
    assert torch.allclose(center[0], gaussian.mean)
    linear = gaussian.flow(identity, 1.0, 0.0) - center
    assert torch.allclose(linear.T @ linear, gaussian.covariance, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("objective", [Epsilon, X0, V, Score, Flow])
def test_every_objective_of_every_schedule_recovers_the_oracle(schedule, objective, mixture, x1):
    oracle = MixtureOracle(
        mixture.weights,
        *(torch.stack([getattr(c, k) for c in mixture.components]) for k in ("mean", "covariance")),
        schedule,
    )
    denoiser = Denoiser(oracle.as_network(objective()), schedule, objective())
    for t in (0.15, 0.6, 0.9, torch.linspace(0.1, 0.9, 32, dtype=torch.float64)):
        scale = schedule.scale(t).reshape(-1, 1, 1) if isinstance(t, torch.Tensor) else schedule.level(t).scale
        assert torch.allclose(denoiser(scale * x1, t), oracle(scale * x1, t), rtol=0, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("time", [1e-4, 0.4])
def test_a_network_predicts_for_the_true_amplitudes(schedule, time, gaussian, x1):
    """For a point in the data x0 and noise are known, so the objective's target is too."""
    point = GaussianOracle(gaussian.mean, 1e-18 * torch.eye(6), schedule)
    t = torch.full((32,), time, dtype=torch.float64)
    level = schedule.level(time)
    y = (level.alpha * gaussian.mean + level.sigma * x1) / level.scale
    for objective in (Score(), Flow(), V()):
        expected = objective.target(gaussian.mean.expand_as(x1), x1, level.alpha, level.sigma)
        found = point.as_network(objective)(y, schedule.log_snr(t), None)
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_network_at_more_noise_than_there_is_predicts_for_t_1(gaussian, x1):
    """log_snr may be rounded below the schedule's lowest."""
    schedule = VarianceExploding()
    network = GaussianOracle(gaussian.mean, gaussian.covariance, schedule).as_network(Score())
    lowest = schedule.level(1.0).log_snr
    at, below = (network(x1, torch.full((32,), level, dtype=torch.float64), None) for level in (lowest, lowest - 1e-6))
    assert torch.allclose(at, below, rtol=1e-5)


def test_estimates_keep_shape_and_dtype(gaussian, x1):
    batched, single = torch.full((32,), 0.3), torch.tensor(0.3, dtype=torch.float64)
    for t in (0.3, single, batched):
        output = gaussian(x1.reshape(32, 2, 3).float(), t)
        assert output.dtype == torch.float32 and output.shape == (32, 2, 3)
        assert torch.allclose(output.reshape(32, 1, 6), gaussian(x1, 0.3).float(), atol=1e-6)


@pytest.mark.parametrize("alpha, sigma", [(1.0, 0.0), (0.8, 0.6), (1.0, 3.0), (0.0, 1.0)])
def test_log_density(alpha, sigma, gaussian, mixture, x1):
    def exact(oracle):
        covariance = alpha**2 * oracle.covariance + sigma**2 * torch.eye(6, dtype=torch.float64)
        return MultivariateNormal(alpha * oracle.mean, covariance).log_prob(x1[:, 0])

    parts = torch.stack([exact(c) for c in mixture.components]) + mixture.weights.log()[:, None]
    assert torch.allclose(gaussian.log_density(x1[:, 0], alpha, sigma), exact(gaussian), rtol=0, atol=1e-11)
    assert torch.allclose(mixture.log_density(x1[:, 0], alpha, sigma), parts.logsumexp(0), rtol=0, atol=1e-11)
    assert torch.allclose(mixture.log_shares(x1[:, 0], alpha, sigma), parts.log_softmax(0), rtol=0, atol=1e-11)
    if sigma == 0:
        assert torch.equal(mixture.log_density(x1[:, 0]), mixture.log_density(x1[:, 0], alpha, sigma))
        assert torch.equal(mixture.log_shares(x1[:, 0]), mixture.log_shares(x1[:, 0], alpha, sigma))
        assert torch.equal(gaussian.log_density(x1[:, 0]), gaussian.log_density(x1[:, 0], alpha, sigma))


def test_denoiser_follows_the_score_of_the_density(mixture, x1):
    """Tweedie: E[x0 | x_t] = (x_t + sigma^2 d log p / d x_t) / alpha."""
    x_t = x1[:, 0].clone().requires_grad_()
    (score,) = torch.autograd.grad(mixture.log_density(x_t, 0.8, 0.6).sum(), x_t)
    assert torch.allclose(mixture.posterior_mean(x_t, 0.8, 0.6), (x_t + 0.36 * score) / 0.8, rtol=0, atol=1e-12)


def test_samples_have_the_distribution(gaussian, mixture, generator):
    count = 40000
    for oracle, weights, parts in ((gaussian, [1.0], [gaussian]), (mixture, [0.35, 0.65], mixture.components)):
        mean = sum(w * c.mean for w, c in zip(weights, parts, strict=True))
        second = sum(w * (c.covariance + torch.outer(c.mean, c.mean)) for w, c in zip(weights, parts, strict=True))
        covariance = second - torch.outer(mean, mean)
        draws = oracle.sample(count, generator)
        assert draws.shape == (count, 6) and draws.dtype == torch.float64
        # Four standard errors; a covariance's is at most sqrt(2) of its variances over sqrt(count) for a Gaussian.
        assert float((draws.mean(0) - mean).abs().max()) < 4 * float(covariance.diag().max() / count) ** 0.5
        assert float((draws.T.cov() - covariance).abs().max()) < 6 * float(covariance.diag().max()) / count**0.5
