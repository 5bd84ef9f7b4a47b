import math

import torch

from audiodiff.diffusion.oracle import GaussianOracle, MixtureOracle
from audiodiff.diffusion.schedule import Cosine


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
    centre = gaussian.flow(torch.zeros(1, 6, dtype=torch.float64), 1.0, 0.0)
    assert torch.allclose(centre[0], gaussian.mean)
    linear = gaussian.flow(identity, 1.0, 0.0) - centre
    assert torch.allclose(linear.T @ linear, gaussian.covariance, atol=1e-12)
