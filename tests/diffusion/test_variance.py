import inspect
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.schedules.schedule import Cosine, Level
from audiodiff.diffusion.variance import LearnedVariance, Posterior
from audiodiff.diffusion.weighting import MinSNR

# (alpha, sigma) at t and at s: variance preserving, exploding, straight lines.
STEPS = [((0.6, 0.8), (0.8, 0.6)), ((1.0, 5.0), (1.0, 0.05)), ((0.4, 0.6), (0.7, 0.3))]


def level(alpha: float, sigma: float) -> Level:
    log_snr = 2 * (math.log(alpha) if alpha else -math.inf) - 2 * (math.log(sigma) if sigma else -math.inf)
    return Level(alpha, sigma, log_snr, 0.5)


def levels(*pairs) -> Level:
    singles = [level(*pair) for pair in pairs]
    return Level(*(torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in zip(*singles, strict=True)))


def pair(count: int = 2):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, count, 1, 40, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("at_t", "at_s"), STEPS)
def test_posterior_by_bayes(at_t, at_s):
    """q(x_s | x_t, x0) is proportional to q(x_s | x0) q(x_t | x_s), whose precisions add."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at_t, at_s
    ratio = alpha_t / alpha_s
    transition = sigma_t**2 - ratio**2 * sigma_s**2
    variance = 1 / (1 / sigma_s**2 + ratio**2 / transition)
    step = Posterior.between(level(*at_t), level(*at_s))
    assert step.log_small == pytest.approx(math.log(variance), abs=1e-13)
    assert step.log_large == pytest.approx(math.log(transition), abs=1e-13)
    assert step.carry == pytest.approx(variance * ratio / transition, rel=1e-13)
    assert step.gain == pytest.approx(variance * alpha_s / sigma_s**2, rel=1e-13)
    x_t, x0 = pair()
    assert torch.allclose(step.mean(x_t, x0), step.carry * x_t + step.gain * x0, rtol=1e-15)


def test_tensors_and_numbers_are_one():
    batch = Posterior.between(levels(*(a for a, _ in STEPS)), levels(*(b for _, b in STEPS)))
    x_t, x0 = pair(3)
    for i, (at_t, at_s) in enumerate(STEPS):
        single = Posterior.between(level(*at_t), level(*at_s))
        for one, other in zip(batch, single, strict=True):
            assert one.shape == (3, 1, 1) and float(one[i]) == pytest.approx(other, rel=1e-14)
        clip = slice(i, i + 1)
        assert torch.allclose(batch.mean(x_t, x0)[clip], single.mean(x_t[clip], x0[clip]), rtol=1e-14)
        assert torch.allclose(batch.log_variance(x0)[clip], single.log_variance(x0[clip]), rtol=1e-13)
        one, other = batch.divergence(x_t, x0, x0), single.divergence(x_t[clip], x0[clip], x0[clip])
        assert torch.allclose(one[clip], other, rtol=1e-12)


def test_from_pure_noise():
    step = Posterior.between(level(0.0, 1.0), level(0.6, 0.8))
    assert (step.carry, step.gain) == (0.0, 0.6)
    assert (step.log_small, step.log_large) == pytest.approx((math.log(0.64), 0.0), abs=1e-15)


def test_to_pure_data():
    x_t, x0 = pair(2)
    for at_t, at_s in ((level(0.6, 0.8), level(1.0, 0.0)), (levels((0.6, 0.8)), levels((1.0, 0.0)))):
        step = Posterior.between(at_t, at_s)
        assert float(step.carry) == 0 and float(step.gain) == 1 and float(step.log_small) == -math.inf
        for fraction in (0.0, 0.3, 1.0, 1.5):
            fraction = torch.full_like(x0, fraction, requires_grad=True)
            assert (step.log_variance(fraction) == -math.inf).all()
            divergence = step.divergence(x_t, x0, fraction)
            assert torch.equal(divergence, torch.zeros_like(x0))
            divergence.sum().backward()
            assert torch.equal(fraction.grad, torch.zeros_like(x0))


def test_large_is_right_for_standard_normal_data():
    """x_t = ratio x_s + noise and both have variance 1: their correlation is the ratio of the alphas."""
    for t, s in ((0.8, 0.5), (1.0, 0.3)):
        at_t, at_s = Cosine().level(t), Cosine().level(s)
        expected = math.log(1 - (at_t.alpha / at_s.alpha) ** 2)
        assert Posterior.between(at_t, at_s).log_large == pytest.approx(expected, abs=1e-12)


def test_log_variance_is_between_its_bounds():
    step = Posterior.between(level(0.6, 0.8), level(0.8, 0.6))
    fraction = torch.tensor([0.0, 0.25, 1.0])
    expected = [step.log_small, 0.75 * step.log_small + 0.25 * step.log_large, step.log_large]
    assert step.log_variance(fraction).tolist() == pytest.approx(expected, rel=1e-6)
    assert step.log_variance(fraction).dtype == torch.float32


@pytest.mark.parametrize(("at_t", "at_s"), STEPS)
def test_divergence(at_t, at_s):
    step = Posterior.between(level(*at_t), level(*at_s))
    x0, x0_hat = pair()
    x_t, fraction = pair()[0] + 1, torch.linspace(-0.5, 1.5, 40, dtype=torch.float64).expand(2, 1, 40)
    true = Normal(step.mean(x_t, x0), math.exp(step.log_small / 2))
    model = Normal(step.mean(x_t, x0_hat), (step.log_variance(fraction) / 2).exp())
    expected = kl_divergence(true, model)
    assert torch.allclose(step.divergence(x0, x0_hat, fraction), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("at_t", "at_s"), STEPS)
@pytest.mark.parametrize("variance", [0.05, 1.0])
def test_divergence_is_least_at_the_true_variance(at_t, at_s, variance):
    """x0 ~ N(0, c), two samples with exactly the posterior's spread around its mean: the minimum over the fraction is
    where the variance is sigma_s^2 r + (alpha_s r)^2 var(x0 | x_t), that of q(x_s | x_t).
    """
    step = Posterior.between(level(*at_t), level(*at_s))
    (alpha, sigma), _ = at_t, at_s
    left = variance * sigma**2 / (alpha**2 * variance + sigma**2)
    x0 = torch.tensor([1.0, -1.0], dtype=torch.float64).reshape(1, 1, 2) * math.sqrt(left)
    true = math.exp(step.log_small) + step.gain**2 * left
    best = (math.log(true) - step.log_small) / (step.log_large - step.log_small)
    fraction = torch.tensor(best, dtype=torch.float64, requires_grad=True)
    step.divergence(x0, torch.zeros_like(x0), fraction.expand(x0.shape)).mean().backward()
    assert abs(float(fraction.grad)) < 1e-12
    costs = [
        float(step.divergence(x0, torch.zeros_like(x0), torch.full_like(x0, f)).mean())
        for f in (best - 0.05, best, best + 0.05)
    ]
    assert costs[1] < min(costs[0], costs[2])


def build(output, objective=None, **options) -> Denoiser:
    """A denoiser whose network returns (B, 2, T): `output(x, log_snr)` and the variance's parameter."""

    def network(x, log_snr, cond):
        return torch.cat(output(x, log_snr), dim=1)

    return Denoiser(network, Cosine(), LearnedVariance(objective or V(), **options))


@pytest.mark.parametrize("objective", [Epsilon, X0, V, Score, Flow])
def test_denoiser_returns_mean_and_variance(objective):
    oracle = GaussianOracle(torch.zeros(40), torch.eye(40) * 0.3, Cosine())
    inner = oracle.as_network(objective())
    denoiser = build(lambda x, log_snr: (inner(x, log_snr), torch.full_like(x, -0.5)), objective())
    x_t, t, s = pair()[0], 0.7, 0.4
    step = Posterior.between(oracle.schedule.level(t), oracle.schedule.level(s))
    mean, log_variance = denoiser.posterior(x_t, t, s)
    assert torch.allclose(mean, step.mean(x_t, oracle(x_t, t)), rtol=0, atol=1e-11)
    assert torch.allclose(log_variance, torch.full_like(x_t, 0.75 * step.log_small + 0.25 * step.log_large))
    assert torch.allclose(denoiser(x_t, t), oracle(x_t, t), rtol=0, atol=1e-11)
    times = (torch.full((2,), u, dtype=torch.float64) for u in (t, s))
    for one, other in zip(denoiser.posterior(x_t, *times), (mean, log_variance), strict=True):
        assert torch.allclose(one, other, rtol=1e-13)


def test_a_silent_network_takes_the_geometric_mean():
    x = torch.ones(1, 1, 3)
    _, fraction = LearnedVariance(V()).split(torch.zeros(1, 2, 3), 1)
    assert torch.equal(fraction, 0.5 * x)
    prediction, fraction = LearnedVariance(V()).split(torch.cat([x, -x], dim=1), 1)
    assert torch.equal(prediction, x) and torch.equal(fraction, 0 * x)
    assert [part.shape for part in LearnedVariance(V()).split(torch.zeros(1, 6, 4), 3)] == [(1, 3, 4)] * 2


@pytest.mark.parametrize("weighting", [None, MinSNR()])
def test_hybrid_loss(weighting):
    """The objective's own loss and, `bound x steps` times, the divergence of each clip's step but the last one."""
    x0, noise = pair(3)
    t = torch.tensor([0.3, 0.9, 0.015], dtype=torch.float64)
    answers = lambda x, log_snr: (0.5 * x, 0.2 * x)  # noqa: E731
    losses = build(answers, X0(weighting), steps=50, bound=0.02).loss(x0, noise, t)
    plain = Denoiser(lambda x, log_snr, cond: 0.5 * x, Cosine(), X0(weighting)).loss(x0, noise, t)
    assert torch.equal(losses.x0_hat, plain.x0_hat)
    schedule = Cosine()
    for i, time in enumerate(t.tolist()[:2]):
        step = Posterior.between(schedule.level(time), schedule.level(time - 0.02))
        x_t = plain.x_t[i]
        divergence = step.divergence(x0[i], 0.5 * x_t, 0.1 * x_t + 0.5).mean()
        assert float(losses.loss[i] - plain.loss[i]) == pytest.approx(0.02 * 50 * float(divergence), rel=1e-9)
    assert losses.loss[2] == plain.loss[2]


def test_the_bound_does_not_move_the_mean():
    """The gradient of the mean's parameter is the objective's alone, that of the variance's the bound's alone."""
    x0, noise = pair()
    t = torch.tensor([0.3, 0.9], dtype=torch.float64)
    gradients = []
    for bound in (0.0, 0.7):
        mean, variance = (torch.tensor(0.3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        denoiser = build(lambda x, log_snr, m=mean, v=variance: (m * x, v * x), bound=bound)
        denoiser.loss(x0, noise, t).loss.sum().backward()
        gradients.append((float(mean.grad), float(variance.grad)))
    assert gradients[0][0] == gradients[1][0] != 0
    assert gradients[0][1] == 0 != gradients[1][1]


def test_padding_does_not_count():
    x0, noise = pair()
    samples = torch.tensor([40, 10])
    denoiser = build(lambda x, log_snr: (0 * x, 0.2 * x), bound=1.0)
    t = torch.full((2,), 0.5, dtype=torch.float64)
    condition = type("Condition", (), {"samples": samples})()
    loss = denoiser.loss(x0, noise, t, condition).loss
    assert float(loss[1]) == pytest.approx(float(denoiser.loss(x0[1:, :, :10], noise[1:, :, :10], t[1:]).loss))


def test_what_is_inside_decides():
    for objective in (Epsilon(), X0(), V(), Score(), Flow()):
        learned = LearnedVariance(objective)
        x0, noise = pair()
        x_t = 0.5 * x0 + 0.9 * noise
        assert learned.starts_at_noise == objective.starts_at_noise
        for method in ("target", "x0", "prediction"):
            ours, theirs = (getattr(o, method)(x0, x_t, 0.5, 0.9) for o in (learned, objective))
            assert torch.equal(ours, theirs)
    assert LearnedVariance(X0()).prediction(x0, x_t, 1.0, 0.0) is x0
    weighted = V(MinSNR())
    alpha, sigma = torch.tensor([0.6]), torch.tensor([0.8])
    assert torch.equal(LearnedVariance(weighted).loss_weight(alpha, sigma), weighted.loss_weight(alpha, sigma))


def test_a_network_of_other_channels_is_refused():
    for channels in (1, 3, 4):
        with pytest.raises(ValueError, match=f"2 outputs, got {channels}"):
            LearnedVariance(V()).split(torch.zeros(1, channels, 4), 1)


@pytest.mark.parametrize("arguments", [{"steps": 1}, {"bound": -1e-9}, {"bound": math.nan}])
def test_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match="at least 2 steps"):
        LearnedVariance(V(), **arguments)


def test_arguments_are_kept():
    learned = LearnedVariance(inner := V())
    assert (learned.objective, learned.steps, learned.bound) == (inner, 1000, 0.001)
    assert list(inspect.signature(LearnedVariance).parameters) == ["objective", "steps", "bound", "weighting"]
    least = LearnedVariance(inner, 2, 0.0)
    assert (least.steps, least.bound) == (2, 0.0)


def test_a_weighting_of_its_own_comes_before_the_objectives():
    assert LearnedVariance(V(MinSNR(2.0))).weighting.gamma == 2.0
    assert LearnedVariance(V(MinSNR(2.0)), weighting=MinSNR(3.0)).weighting.gamma == 3.0
