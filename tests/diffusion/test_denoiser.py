from types import SimpleNamespace

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import X0, Epsilon, MinSNR, V
from audiodiff.diffusion.schedule import Cosine, LinearBeta

OBJECTIVES = [Epsilon, X0, V]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("t", [0.02, 0.5, 0.99, torch.tensor(0.3), torch.linspace(0.01, 0.99, 32)])
def test_denoiser_recovers_the_posterior_mean(objective, t, mixture, x1):
    denoiser = Denoiser(mixture.as_network(objective()), mixture.schedule, objective())
    assert torch.allclose(denoiser(x1, t), mixture(x1, t), rtol=0, atol=1e-11)


def test_batch_times_equal_single_times(mixture, x1):
    t = torch.linspace(0.05, 0.95, len(x1), dtype=torch.float64)
    denoiser = Denoiser(mixture.as_network(V()), mixture.schedule, V())
    singles = torch.cat([denoiser(x1[i : i + 1], float(t[i])) for i in range(len(x1))])
    assert torch.allclose(denoiser(x1, t), singles, rtol=0, atol=1e-13)


@pytest.mark.parametrize("t, expected", [(0.0, 20.0), (1.0, -20.0), (0.5, 0.0)])
def test_network_is_told_a_bounded_log_snr(t, expected):
    seen = []

    def network(x_t, log_snr, cond):
        seen.append((log_snr, cond))
        return torch.zeros_like(x_t).bfloat16()

    for time in (t, torch.full((3,), t)):
        answer = Denoiser(network, Cosine(), V())(torch.ones(3, 1, 4), time, "cond")
        assert answer.dtype == torch.float32
    for log_snr, cond in seen:
        assert log_snr.shape == (3,) and log_snr.dtype == torch.float32 and cond == "cond"
        assert log_snr.tolist() == pytest.approx([expected] * 3, abs=1e-6)


def test_t_max():
    network = lambda x_t, log_snr, cond: x_t  # noqa: E731
    for schedule in (Cosine(), LinearBeta()):
        assert Denoiser(network, schedule, V()).t_max == 1.0
        assert Denoiser(network, schedule, X0()).t_max == 1.0
        t_max = Denoiser(network, schedule, Epsilon()).t_max
        assert t_max < 1 and float(schedule.log_snr(t_max)) == pytest.approx(-10)
    assert Denoiser(network, LinearBeta(0.1, 5.0), Epsilon()).t_max == 1.0


def test_epsilon_network_refuses_pure_noise(gaussian, x1):
    with pytest.raises(ValueError, match="t_max"):
        Denoiser(gaussian.as_network(Epsilon()), Cosine(), Epsilon())(x1, 1.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("weighting", [None, MinSNR()])
def test_loss_is_the_weighted_error(objective, weighting, generator):
    objective = objective(weighting)
    x0, noise = torch.randn(2, 3, 2, 40, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    alpha, sigma = Cosine().alpha(t)[:, None, None], Cosine().sigma(t)[:, None, None]
    losses = Denoiser(lambda x_t, log_snr, cond: 0.5 * x_t, Cosine(), objective).loss(x0, noise, t)
    x_t = alpha * x0 + sigma * noise
    error = (0.5 * x_t - objective.target(x0, noise, alpha, sigma)).square().mean((1, 2))
    assert torch.allclose(losses.x_t, x_t)
    assert torch.allclose(losses.x0_hat, objective.x0(0.5 * x_t, x_t, alpha, sigma))
    assert torch.allclose(losses.loss, objective.loss_weight(alpha, sigma).flatten() * error)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_perfect_network_has_no_loss_on_a_point(objective, generator):
    """Where x0 is one known point, the network that knows it has loss 0 at every noise level."""
    point = torch.randn(1, 1, 20, generator=generator, dtype=torch.float64)

    def network(x_t, log_snr, cond):
        alpha, sigma = (torch.sigmoid(s * log_snr).sqrt()[:, None, None] for s in (1, -1))
        return objective().target(point, (x_t - alpha * point) / sigma, alpha, sigma)

    t = torch.tensor([0.05, 0.4, 0.95], dtype=torch.float64)
    noise = torch.randn(3, 1, 20, generator=generator, dtype=torch.float64)
    assert float(Denoiser(network, Cosine(), objective()).loss(point.expand(3, 1, 20), noise, t).loss.max()) < 1e-22


def test_oracle_minimises_the_loss(gaussian, generator):
    """E[x0 | x_t] is the minimiser: scaling its answer by 0.9 or 1.1 costs more."""
    modes = torch.randn(20000, 6, generator=generator, dtype=torch.float64) * gaussian.variances.sqrt()
    x0 = (gaussian.mean + modes @ gaussian.modes.T)[:, None]
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    network = gaussian.as_network(V())
    cost = {}
    for scale in (0.9, 1.0, 1.1):
        scaled = Denoiser(lambda x, log_snr, c, s=scale: s * network(x, log_snr, c), Cosine(), V())
        cost[scale] = float(scaled.loss(x0, noise, 0.5).loss.mean())
    assert cost[1.0] < min(cost[0.9], cost[1.1])


def test_padding_does_not_count(generator):
    denoiser = Denoiser(lambda x_t, log_snr, cond: torch.zeros_like(x_t), Cosine(), X0())
    x0, noise = torch.randn(2, 3, 2, 10, generator=generator)
    cond = SimpleNamespace(samples=torch.tensor([10, 4, 0]))
    loss = denoiser.loss(x0, noise, torch.tensor([0.1, 0.5, 0.9]), cond).loss
    assert loss[0] == pytest.approx(float(x0[0].square().mean()))
    assert loss[1] == pytest.approx(float(x0[1, :, :4].square().mean()))
    assert loss[2] == 0


def test_gradients_reach_the_network(generator):
    network = torch.nn.Conv1d(1, 1, 3, padding=1)
    denoiser = Denoiser(lambda x_t, log_snr, cond: network(x_t), Cosine(), V())
    x0, noise = torch.randn(2, 2, 1, 16, generator=generator)
    denoiser.loss(x0, noise, torch.tensor([0.2, 0.8])).loss.mean().backward()
    assert float(network.weight.grad.abs().sum()) > 0
