import pytest
import torch

from audiodiff.diffusion.objective import X0, Epsilon, MinSNR, V

OBJECTIVES = [Epsilon, X0, V]


def _levels(*alphas):
    alpha = torch.tensor(alphas, dtype=torch.float64).reshape(-1, 1, 1)
    return alpha, torch.sqrt(1 - alpha**2)


def _pair(generator, count):
    return torch.randn(2, count, 1, 50, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_target_and_x0_are_inverse(objective, generator):
    alpha, sigma = _levels(1.0, 0.999, 0.5, 0.05, 0.01)
    x0, noise = _pair(generator, 5)
    x_t = alpha * x0 + sigma * noise
    target = objective().target(x0, noise, alpha, sigma)
    assert torch.allclose(objective().x0(target, x_t, alpha, sigma), x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", [X0, V])
def test_pure_noise_is_no_obstacle(objective, generator):
    alpha, sigma = _levels(0.0)
    x0, noise = _pair(generator, 1)
    target = objective().target(x0, noise, alpha, sigma)
    assert torch.equal(objective().x0(target, noise, alpha, sigma), x0)


def test_epsilon_refuses_pure_noise(generator):
    alpha, sigma = _levels(0.5, 0.0)
    x0, noise = _pair(generator, 2)
    with pytest.raises(ValueError, match="alpha = 0"):
        Epsilon().x0(noise, x0, alpha, sigma)
    with pytest.raises(ValueError, match="alpha = 0"):
        Epsilon(MinSNR()).loss_weight(alpha, sigma)
    assert not Epsilon().starts_at_noise and X0().starts_at_noise and V().starts_at_noise


def test_min_snr_losses_are_one_loss(generator):
    """The same x0 estimate costs the same whatever the network is said to predict."""
    alpha, sigma = _levels(0.999, 0.9, 0.5, 0.1)
    x0, noise = _pair(generator, 4)
    estimate = x0 + 0.1 * _pair(generator, 4)[0]
    x_t = alpha * x0 + sigma * noise
    noise_hat = (x_t - alpha * estimate) / sigma
    costs = []
    for objective in (o(MinSNR(5.0)) for o in OBJECTIVES):
        error = objective.target(estimate, noise_hat, alpha, sigma) - objective.target(x0, noise, alpha, sigma)
        costs.append((objective.loss_weight(alpha, sigma) * error.square()).flatten(1).mean(1))
    expected = ((alpha / sigma).square().clamp(max=5) * (estimate - x0).square()).flatten(1).mean(1)
    for cost in costs:
        assert torch.allclose(cost, expected, rtol=1e-12, atol=0)


def test_min_snr_published_weights():
    alpha, sigma = _levels(0.95, 0.3)
    snr = (alpha / sigma) ** 2
    bounded = torch.minimum(snr, torch.tensor(5.0, dtype=torch.float64))
    for objective, expected in ((Epsilon, bounded / snr), (X0, bounded), (V, bounded / (snr + 1))):
        assert torch.allclose(objective(MinSNR()).loss_weight(alpha, sigma), expected, rtol=1e-12)
        assert torch.equal(objective().loss_weight(alpha, sigma), torch.ones_like(alpha))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_are_finite_on_clean_data(objective):
    assert torch.isfinite(objective(MinSNR()).loss_weight(*_levels(1.0))).all()


def test_min_snr_refuses_a_bound_of_zero():
    with pytest.raises(ValueError, match="gamma"):
        MinSNR(0.0)


def test_arguments_are_kept():
    weighting = MinSNR(3.0)
    assert weighting.gamma == 3.0
    assert V(weighting).weighting is weighting
