import math
from types import SimpleNamespace

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, Schedule
from audiodiff.diffusion.variance import LearnedVariance, Posterior
from audiodiff.diffusion.weighting import P2, SNR, MinSNR, SigmoidWeighting, VariationalBound
from audiodiff.nn.condition import Condition

OBJECTIVES = [Epsilon, X0, V, Score, Flow]


class Exploding(Schedule):
    """alpha = 1, sigma = 9 t: the variance is not preserved."""

    def _alpha(self, t):
        return torch.ones_like(t)

    def _sigma(self, t):
        return 9 * t

    def _log_snr(self, t):
        return -2 * torch.log(9 * t)

    def _t_from_log_snr(self, log_snr):
        return torch.exp(-log_snr / 2) / 9


def silent(x, log_snr, cond):
    return torch.zeros_like(x)


class Recording:
    """A network that returns 0 and records its inputs."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, log_snr, cond):
        self.seen.append((x, log_snr, cond))
        return torch.zeros_like(x)


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
def test_network_sees_a_bounded_log_snr(t, expected):
    seen = []

    def network(x_t, log_snr, cond):
        seen.append((log_snr, cond))
        return torch.zeros_like(x_t).bfloat16()

    for time in (t, torch.full((3,), t)):
        output = Denoiser(network, Cosine(), V())(torch.ones(3, 1, 4), time, "cond")
        assert output.dtype == torch.float32
    for log_snr, cond in seen:
        assert log_snr.shape == (3,) and log_snr.dtype == torch.float32 and cond == "cond"
        assert log_snr.tolist() == pytest.approx([expected] * 3, abs=1e-6)


def test_t_max():
    for schedule in (Cosine(), LinearBeta()):
        assert all(Denoiser(silent, schedule, objective()).t_max == 1.0 for objective in (V, X0, Flow))
        for objective in (Epsilon, Score):
            t_max = Denoiser(silent, schedule, objective()).t_max
            assert t_max < 1 and float(schedule.log_snr(t_max)) == pytest.approx(-10)
    for schedule in (LinearBeta(0.1, 5.0), Exploding()):
        assert Denoiser(silent, schedule, Epsilon()).t_max == 1.0


@pytest.mark.parametrize("objective", [Epsilon, Score])
@pytest.mark.parametrize("t", [1.0, torch.full((32,), 1.0)])
def test_predicted_noise_refuses_pure_noise(objective, t, x1):
    with pytest.raises(ValueError, match="t_max"):
        Denoiser(silent, Cosine(), objective())(x1, t)


@pytest.mark.parametrize("t", [-0.1, 1.1, torch.tensor([0.5] * 31 + [1.1])])
def test_times_outside_are_refused(t, x1):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Denoiser(silent, Cosine(), V())(x1, t)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_variance_need_not_be_preserved(objective, generator, x1):
    """On the same signals, an exploding schedule is the preserving one of the same log_snr, looked at through scale."""
    mixture = GaussianOracle(torch.ones(6), 0.3 * torch.eye(6), Exploding())
    denoiser = Denoiser(mixture.as_network(objective()), mixture.schedule, objective())
    for t in (0.02, 0.7, 1.0, torch.tensor(0.3), torch.linspace(0.01, 1, 32)):
        assert torch.allclose(denoiser(x1, t), mixture(x1, t), rtol=0, atol=1e-11)


@pytest.mark.parametrize("t", [0.4, torch.full((3,), 0.4, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)])
def test_network_sees_unit_variance(t):
    network, x_t = Recording(), torch.ones(3, 1, 4, dtype=torch.float64)
    Denoiser(network, Exploding(), V())(x_t, t)
    ((seen, log_snr, _),) = network.seen
    assert torch.allclose(seen, x_t / math.hypot(1, 3.6), rtol=1e-15)
    assert torch.allclose(log_snr, torch.full((3,), -2 * math.log(3.6), dtype=torch.float64), rtol=1e-14)


def test_network_sees_a_preserved_variance_as_it_is():
    x_t = torch.randn(3, 1, 4)
    for schedule in (Cosine(), LinearBeta()):
        for t in (0.0, 0.123, 0.5, 0.987):
            network = Recording()
            denoiser = Denoiser(network, schedule, V())
            denoiser(x_t, t)
            denoiser(x_t, torch.tensor(t))
            assert network.seen[0][0] is x_t and network.seen[1][0] is x_t
            denoiser(x_t, torch.full((3,), t))
            assert torch.equal(network.seen[2][0], x_t)


def test_a_scale_close_to_one_is_one_too():
    class Loud(Cosine):
        def _alpha(self, t):
            return 1.02 * super()._alpha(t)

    network, x_t = Recording(), torch.ones(1, 1, 2, dtype=torch.float64)
    Denoiser(network, Loud(), V())(x_t, 0.0)
    assert torch.allclose(network.seen[0][0], x_t / 1.02, rtol=1e-14)


def test_a_compiled_call_is_one_graph(generator):
    network = torch.nn.Conv1d(1, 1, 3, padding=1).double()
    for schedule, objective in ((Cosine(), V()), (LinearBeta(), Epsilon()), (Exploding(), Flow())):
        denoiser = Denoiser(lambda x, log_snr, cond: network(x) * log_snr[:, None, None], schedule, objective)

        def two_steps(x, denoiser=denoiser):
            return denoiser(x, 0.75) + denoiser.posterior(x, 0.5, 0.25)[0]

        x = torch.randn(2, 1, 8, generator=generator, dtype=torch.float64)
        compiled = torch.compile(two_steps, fullgraph=True, dynamic=False, backend="eager")
        assert torch.allclose(compiled(x), two_steps(x), rtol=1e-12)


def test_posterior_of_a_fixed_variance(mixture, x1):
    denoiser = Denoiser(mixture.as_network(V()), mixture.schedule, V())
    for t, s in ((1.0, 0.6), (0.6, 0.2), (0.6, 0.0)):
        (alpha_t, sigma_t, log_t, *_), (alpha_s, sigma_s, log_s, *_) = (mixture.schedule.level(u) for u in (t, s))
        gain = alpha_s * -math.expm1(log_t - log_s)
        carry = alpha_t * sigma_s**2 / (alpha_s * sigma_t**2)
        mean, log_variance = denoiser.posterior(x1, t, s)
        assert log_variance is None
        assert torch.allclose(mean, carry * x1 + gain * denoiser(x1, t), rtol=0, atol=1e-13)


@pytest.mark.parametrize("s", [0.5, 0.7])
def test_posterior_of_no_earlier_time_is_refused(s, x1):
    with pytest.raises(ValueError, match=r"earlier time, got one from t = 0\.5 to s ="):
        Denoiser(silent, Cosine(), V()).posterior(x1, 0.5, s)


@pytest.mark.parametrize(
    ("cond", "clips"),
    [
        (torch.zeros(2, 5), 2),
        (Condition(frames=torch.zeros(1, 4, 5)), 1),
        (Condition(samples=torch.zeros(4, dtype=torch.long)), 4),
    ],
)
def test_a_condition_of_another_batch_is_refused(cond, clips):
    denoiser, x = Denoiser(silent, Cosine(), V()), torch.zeros(3, 1, 4)
    for ask in (
        lambda: denoiser(x, 0.5, cond),
        lambda: denoiser.posterior(x, 0.5, 0.2, cond),
        lambda: denoiser.loss(x, x, 0.5, cond),
    ):
        with pytest.raises(ValueError, match=f"the condition has {clips} clips, the signal 3"):
            ask()


@pytest.mark.parametrize("cond", [None, "two", torch.tensor(1.0), torch.zeros(3), SimpleNamespace(frames=None)])
def test_other_conditions_are_handed_on(cond):
    network = Recording()
    Denoiser(network, Cosine(), V())(torch.zeros(3, 1, 4), 0.5, cond)
    assert network.seen[0][2] is cond


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("weighting", [None, MinSNR(), VariationalBound()])
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
    slope = -2 * math.pi / torch.sin(math.pi * t)[:, None, None]
    weight = objective.loss_weight(alpha, sigma, lambda: slope).flatten()
    assert torch.allclose(losses.loss, weight * error, rtol=1e-12)
    assert torch.allclose(losses.log_snr, Cosine().log_snr(t), rtol=1e-14)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_perfect_network_has_no_loss_on_a_point(objective, generator):
    """Where x0 is one known point, the network that knows it has loss 0 at every noise level."""
    point = torch.randn(1, 1, 20, generator=generator, dtype=torch.float64)

    def network(x_t, log_snr, cond):
        alpha, sigma = (torch.sigmoid(s * log_snr).sqrt()[:, None, None] for s in (1, -1))
        return objective().target(point.expand_as(x_t), (x_t - alpha * point) / sigma, alpha, sigma)

    t = torch.tensor([0.05, 0.4, 0.95], dtype=torch.float64)
    noise = torch.randn(3, 1, 20, generator=generator, dtype=torch.float64)
    assert float(Denoiser(network, Cosine(), objective()).loss(point.expand(3, 1, 20), noise, t).loss.max()) < 1e-22


def test_oracle_minimizes_the_loss(gaussian, generator):
    """E[x0 | x_t] is the minimizer: scaling its output by 0.9 or 1.1 costs more."""
    modes = torch.randn(20000, 6, generator=generator, dtype=torch.float64) * gaussian.variances.sqrt()
    x0 = (gaussian.mean + modes @ gaussian.modes.T)[:, None]
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    network = gaussian.as_network(V())
    cost = {}
    for scale in (0.9, 1.0, 1.1):
        scaled = Denoiser(lambda x, log_snr, c, s=scale: s * network(x, log_snr, c), Cosine(), V())
        cost[scale] = float(scaled.loss(x0, noise, 0.5).loss.mean())
    assert cost[1.0] < min(cost[0.9], cost[1.1])


@pytest.mark.parametrize("weighting", [SNR(), MinSNR(), P2(), SigmoidWeighting(), VariationalBound()])
@pytest.mark.parametrize("schedule", [Cosine(), Exploding()])
def test_one_estimate_has_one_loss(weighting, schedule, generator):
    """Whatever the network is said to predict, with weights stated for the x0-error."""
    x0, noise = torch.randn(2, 3, 2, 40, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    costs = []
    for objective in (o(weighting) for o in OBJECTIVES):

        def network(y, log_snr, cond, objective=objective):
            alpha, sigma, scale = (f(t)[:, None, None] for f in (schedule.alpha, schedule.sigma, schedule.scale))
            return objective.prediction(torch.sin(3 * y), scale * y, alpha, sigma)

        costs.append(Denoiser(network, schedule, objective).loss(x0, noise, t).loss)
    for cost in costs[1:]:
        assert torch.allclose(cost, costs[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("schedule", [Cosine(), LinearBeta(), Exploding()])
def test_bound_follows_the_slope_of_the_schedule(schedule):
    """-1/2 dSNR/dt by central differences, also where autograd is off; 0 beyond log_snr = +-20."""
    t, step = torch.tensor([0.05, 0.3, 0.8, 0.0], dtype=torch.float64), 1e-6
    snr = [schedule.log_snr((t + shift).clamp(min=1e-9)).exp() for shift in (step, -step)]
    expected = (snr[1] - snr[0]) / (4 * step)
    expected[3] = 0
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            ones = torch.ones(4, 1, 5, dtype=torch.float64)
            loss = Denoiser(silent, schedule, X0(VariationalBound())).loss(ones, 0 * ones, t.clone()).loss
        assert torch.allclose(loss, expected, rtol=1e-6, atol=0)


def test_bound_ends_where_the_levels_do():
    t = Cosine().t_from_log_snr(torch.tensor([20.01, 19.99, -19.99, -20.01], dtype=torch.float64))
    ones = torch.ones(4, 1, 5, dtype=torch.float64)
    losses = Denoiser(silent, Cosine(), X0(VariationalBound())).loss(ones, ones, t)
    assert [bool(value > 0) for value in losses.loss] == [False, True, True, False]
    assert losses.log_snr.tolist() == pytest.approx([20, 19.99, -19.99, -20], abs=1e-9)


def test_the_bound_is_silent_at_its_very_end():
    class Straight(Cosine):
        def _log_snr(self, t):
            return 20 - 30 * t

    ones = torch.ones(2, 1, 5, dtype=torch.float64)
    t = torch.tensor([0.0, 0.5], dtype=torch.float64)
    loss = Denoiser(silent, Straight(), X0(VariationalBound())).loss(ones, ones, t).loss
    assert loss.tolist() == pytest.approx([0, 15])


def test_terms_are_added(generator):
    x0, noise = torch.randn(2, 3, 2, 10, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    denoiser = Denoiser(lambda x, log_snr, cond: 0.5 * x, Cosine(), V())
    plain = denoiser.loss(x0, noise, t)

    def term(x0_hat, clean, log_snr):
        assert clean is x0 and torch.equal(x0_hat, plain.x0_hat)
        return log_snr

    with_terms = denoiser.loss(x0, noise, t, terms=(term, lambda x0_hat, clean, log_snr: torch.ones(3)))
    assert torch.allclose(with_terms.loss, plain.loss + Cosine().log_snr(t) + 1, rtol=1e-13)


def test_loss_at_one_time_is_that_of_the_batch(generator):
    x0, noise = torch.randn(2, 3, 1, 10, generator=generator)
    denoiser = Denoiser(lambda x, log_snr, cond: 0.5 * x, Cosine(), V())
    expected = denoiser.loss(x0, noise, torch.full((3,), 0.25))
    for t in (0.25, torch.tensor(0.25)):
        losses = denoiser.loss(x0, noise, t)
        assert all(torch.equal(one, other) for one, other in zip(losses, expected, strict=True))
        assert all(value.dtype == torch.float32 for value in losses)


def test_score_refuses_clean_data():
    x = torch.ones(2, 1, 4)
    with pytest.raises(ValueError, match="sigma = 0"):
        Denoiser(silent, Cosine(), Score()).loss(x, x, torch.tensor([0.5, 0.0]))


def test_padding_does_not_count(generator):
    denoiser = Denoiser(lambda x_t, log_snr, cond: torch.zeros_like(x_t), Cosine(), X0())
    x0, noise = torch.randn(2, 3, 2, 10, generator=generator)
    cond = SimpleNamespace(samples=torch.tensor([10, 4, 0]))
    loss = denoiser.loss(x0, noise, torch.tensor([0.1, 0.5, 0.9]), cond).loss
    assert loss[0] == pytest.approx(float(x0[0].square().mean()))
    assert loss[1] == pytest.approx(float(x0[1, :, :4].square().mean()))
    assert loss[2] == 0
    cond = SimpleNamespace(samples=torch.tensor([1, 1, 1]))
    loss = denoiser.loss(x0[:, :1], noise[:, :1], 0.5, cond).loss
    assert loss.tolist() == pytest.approx(x0[:, 0, 0].square().tolist())


def test_gradients_reach_the_network(generator):
    network = torch.nn.Conv1d(1, 1, 3, padding=1)
    denoiser = Denoiser(lambda x_t, log_snr, cond: network(x_t), Cosine(), V())
    x0, noise = torch.randn(2, 2, 1, 16, generator=generator)
    denoiser.loss(x0, noise, torch.tensor([0.2, 0.8])).loss.mean().backward()
    assert float(network.weight.grad.abs().sum()) > 0


def test_two_outputs_are_split_by_channels(x1):
    """One channel of six samples: the second channel of the output is the fraction, here and in the loss."""
    denoiser = Denoiser(
        lambda x_t, log_snr, cond: torch.cat([x_t, 0 * x_t], 1), Cosine(), LearnedVariance(X0(), 4, 1.0)
    )
    assert torch.equal(denoiser(x1, 0.5), x1)
    mean, log_variance = denoiser.posterior(x1, 0.5, 0.25)
    assert mean.shape == log_variance.shape == x1.shape
    x0, t = x1[:1], torch.tensor([0.5], dtype=torch.float64)
    result = denoiser.loss(x0, x1[1:2], t)
    step = Posterior.between(denoiser._level(t, x0), denoiser._level(t - 0.25, x0))
    divergence = step.divergence(x0, result.x_t, torch.full_like(x0, 0.5)).mean()
    assert float(result.loss) == pytest.approx(float((result.x_t - x0).square().mean() + 4 * divergence), rel=1e-12)
    # The step from t = 0.1 ends at t = 0, where there is no divergence.
    last = denoiser.loss(x0, x1[1:2], torch.tensor([0.1], dtype=torch.float64))
    assert float(last.loss) == pytest.approx(float((last.x_t - x0).square().mean()), rel=1e-12)
