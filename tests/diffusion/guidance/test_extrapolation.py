from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.guidance.extrapolation import Autoguidance, ClassifierFree
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM, Ancestral
from audiodiff.diffusion.schedules.schedule import Cosine, RectifiedFlow, VarianceExploding
from audiodiff.diffusion.variance import LearnedVariance, Posterior

SCHEDULES = [Cosine(), VarianceExploding(), RectifiedFlow()]
LABELS = torch.ones(32)
NONE = torch.zeros(32)


@dataclass(frozen=True)
class Lengths:
    samples: torch.Tensor
    label: torch.Tensor


class TwoModels:
    """Answers as `conditional` where the condition is 1 and as `unconditional` where it is 0; counts its calls."""

    def __init__(self, conditional, unconditional):
        self.conditional = conditional
        self.unconditional = unconditional
        self.schedule = conditional.schedule
        self.t_max = 0.9
        self.calls = 0

    def __call__(self, x_t, t, cond=None):
        self.calls += 1
        label = getattr(cond, "label", cond)
        chosen = (label > 0).reshape(-1, 1, 1).expand_as(x_t)
        return torch.where(chosen, self.conditional(x_t, t), self.unconditional(x_t, t))


class Pointwise:
    """A denoiser that looks at no other position, so that padding matters to nothing but guidance."""

    schedule, t_max = Cosine(), 1.0

    def __init__(self, function):
        self.function = function

    def __call__(self, x_t, t, cond=None):
        return self.function(x_t)


def _on(schedule, generator, covariance=None):
    mean = torch.randn(6, generator=generator, dtype=torch.float64)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64) / 3
    covariance = root @ root.T + 0.2 * torch.eye(6, dtype=torch.float64) if covariance is None else covariance
    return GaussianOracle(mean, covariance, schedule)


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def models(request, generator):
    return TwoModels(_on(request.param, generator), _on(request.param, generator))


@pytest.fixture
def pair(generator):
    return TwoModels(_on(Cosine(), generator), _on(Cosine(), generator))


def _score(oracle, x_t, t):
    level = oracle.schedule.level(t)
    noisy = level.alpha**2 * oracle.covariance + level.sigma**2 * torch.eye(6, dtype=torch.float64)
    return torch.linalg.solve(noisy, (level.alpha * oracle.mean - x_t[:, 0]).T).T[:, None]


@pytest.mark.parametrize("weight", [-1.0, 0.3, 2.5, 7.0])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_guided_score_is_that_of_the_extrapolated_density(weight, t, models, x1):
    level = models.schedule.level(t)
    x_t = level.scale * x1
    score = weight * _score(models.conditional, x_t, t) + (1 - weight) * _score(models.unconditional, x_t, t)
    expected = (x_t + level.sigma**2 * score) / level.alpha
    guided = ClassifierFree(models, weight, NONE)(x_t, t, LABELS)
    assert torch.allclose(guided, expected, rtol=0, atol=1e-9 * level.scale**2)


def test_equal_covariances_are_guided_to_a_gaussian(generator, x1):
    """p_u (p_c / p_u)^w then has the same covariance and the extrapolated mean, at every noise level."""
    unconditional = _on(Cosine(), generator)
    conditional = _on(Cosine(), generator, unconditional.covariance)
    mean = unconditional.mean + 3 * (conditional.mean - unconditional.mean)
    guided = ClassifierFree(TwoModels(conditional, unconditional), 3.0, NONE)
    target = GaussianOracle(mean, unconditional.covariance, Cosine())
    x0, expected = (DDIM(40, grid=torch.linspace(0.9, 0, 41))(d, x1, LABELS) for d in (guided, target))
    assert torch.allclose(x0, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("weight, label", [(1.0, LABELS), (0.0, NONE)])
def test_a_single_branch_is_exact_and_costs_one_call(weight, label, pair, x1):
    guided = ClassifierFree(pair, weight, NONE, join=lambda *both: torch.cat(both))
    assert torch.equal(guided(x1, 0.5, LABELS), pair(x1, 0.5, label))
    assert pair.calls == 2
    ClassifierFree(pair, 0.5, NONE)(x1, 0.5, LABELS)
    assert pair.calls == 4


@settings(max_examples=30, deadline=None)
@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 1))
def test_linear_in_the_weight(first, second, share):
    generator = torch.Generator().manual_seed(3)
    pair = TwoModels(_on(Cosine(), generator), _on(Cosine(), generator))
    x_t = torch.randn(4, 1, 6, generator=generator, dtype=torch.float64)
    a, b, both = (
        ClassifierFree(pair, w, NONE[:4])(x_t, 0.4, LABELS[:4])
        for w in (first, second, share * first + (1 - share) * second)
    )
    assert torch.allclose(both, share * a + (1 - share) * b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("t", [0.5, torch.tensor(0.5), torch.linspace(0.1, 0.9, 2, dtype=torch.float64)])
def test_one_joined_call_equals_two(t, pair, x1):
    separate = ClassifierFree(pair, 3.0, NONE[:2], join=lambda *both: None)(x1[:2], t, LABELS[:2])
    assert pair.calls == 2
    joined = ClassifierFree(pair, 3.0, NONE[:2])(x1[:2], t, LABELS[:2])
    assert pair.calls == 3
    assert torch.allclose(joined, separate, rtol=0, atol=1e-13)


def test_conditions_of_a_class_are_joined(pair, x1):
    samples = torch.full((2,), 6)
    cond, none = Lengths(samples, LABELS[:2]), Lengths(samples, NONE[:2])
    expected = ClassifierFree(pair, 3.0, NONE[:2])(x1[:2], 0.5, LABELS[:2])
    calls = pair.calls
    assert torch.allclose(ClassifierFree(pair, 3.0, none)(x1[:2], 0.5, cond), expected, rtol=0, atol=1e-13)
    assert pair.calls == calls + 1


def test_large_batches_are_not_joined(pair, x1):
    """It would take memory and save no time."""
    ClassifierFree(pair, 3.0, NONE)(x1, 0.5, LABELS)
    assert pair.calls == 2


def test_the_counterpart_may_be_made_of_the_condition(pair, x1):
    cond = Lengths(torch.full((32,), 6), LABELS)
    guided = ClassifierFree(pair, 2.0, lambda c: Lengths(c.samples, torch.zeros_like(c.label)))
    assert torch.equal(guided(x1, 0.5, cond), ClassifierFree(pair, 2.0, NONE)(x1, 0.5, LABELS))


def test_unconditional_is_none_by_default(x1):
    seen = []

    def network(x_t, log_snr, cond):
        seen.append(cond)
        return x_t

    ClassifierFree(Denoiser(network, Cosine(), V()), 2.0)(x1, 0.5, "words")
    assert seen == ["words", None]


def test_interval(pair, x1):
    """Inclusive at both ends; outside the conditional model alone, in one call."""
    times = [0.2, 0.4, 0.6]
    highest, middle, lowest = (pair.schedule.level(t).log_snr for t in times)
    inside = ClassifierFree(pair, 4.0, NONE, interval=(lowest, highest))
    for t in times:
        assert torch.equal(inside(x1, t, LABELS), ClassifierFree(pair, 4.0, NONE)(x1, t, LABELS))
    for interval in ((middle, highest), (lowest, middle)):
        guided = ClassifierFree(pair, 4.0, NONE, interval=interval)
        outside = 0.6 if interval[0] == middle else 0.2
        calls = pair.calls
        output = guided(x1, outside, LABELS)
        assert pair.calls == calls + 1
        assert torch.equal(output, pair(x1, outside, LABELS))


@pytest.mark.parametrize("weight", [0.0, 4.0])
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_interval_of_each_clip(weight, rescale, pair, x1):
    t = torch.linspace(0.1, 0.9, 32, dtype=torch.float64)
    guided = ClassifierFree(pair, weight, NONE, rescale, interval=(-1.0, 2.0))
    batch = guided(x1, t, LABELS)
    for n in range(32):
        # As a number of the same batch, so that matrix products round alike.
        assert torch.allclose(batch[n], guided(x1, float(t[n]), LABELS)[n], rtol=0, atol=1e-13)
    outside = (pair.schedule.log_snr(t) < -1) | (pair.schedule.log_snr(t) > 2)
    assert 5 < int(outside.sum()) < 27
    assert torch.equal(batch[outside], pair(x1, t, LABELS)[outside])


def test_rescale_restores_the_standard_deviation(pair, x1):
    plain, half, full = (ClassifierFree(pair, 5.0, NONE, rescale)(x1, 0.5, LABELS) for rescale in (0.0, 0.4, 1.0))
    conditional = pair(x1, 0.5, LABELS)
    assert torch.allclose(full.flatten(1).std(1), conditional.flatten(1).std(1), rtol=1e-12)
    assert torch.allclose(half, 0.4 * full + 0.6 * plain, rtol=0, atol=1e-12)
    assert float((full - plain).abs().max()) > 0.1
    ratio = full / plain
    assert torch.allclose(ratio, ratio[:, :, :1].expand_as(ratio), rtol=1e-12)


def test_rescale_acts_on_a_weight_of_0_and_not_on_constant_clips(pair, x1):
    rescaled = ClassifierFree(pair, 0.0, NONE, 1.0)(x1, 0.5, LABELS)
    spreads = [x.flatten(1).std(1) for x in (rescaled, pair(x1, 0.5, LABELS))]
    assert torch.allclose(*spreads, rtol=1e-12)
    denoiser = Denoiser(lambda x_t, log_snr, cond: cond * torch.ones_like(x_t), Cosine(), X0())
    flat = ClassifierFree(denoiser, 2.0, 1.0, 1.0)(torch.zeros(2, 1, 4), 0.5, 3.0)
    assert torch.equal(flat, torch.full((2, 1, 4), 5.0))


def test_rescale_of_padded_clips_equals_that_of_single_ones(generator):
    lengths = [6, 3, 1, 5]
    wide = torch.randn(4, 2, 6, generator=generator, dtype=torch.float64)
    pair = TwoModels(Pointwise(torch.sin), Pointwise(torch.cos))

    def guided(x, samples):
        cond = Lengths(torch.tensor(samples), torch.ones(len(samples)))
        return ClassifierFree(pair, 3.0, lambda c: Lengths(c.samples, 0 * c.label), 0.8)(x, 0.5, cond)

    batch = guided(wide, lengths)
    for n, length in enumerate(lengths):
        cut = wide[n : n + 1, :, :length]
        unpadded = ClassifierFree(pair, 3.0, NONE[:1], 0.8)(cut, 0.5, LABELS[:1])
        assert torch.allclose(guided(cut, [length]), unpadded, rtol=0, atol=1e-13)
        assert torch.allclose(batch[n, :, :length], unpadded[0], rtol=0, atol=1e-13)


def test_rescale_of_an_empty_clip_is_finite():
    cond = Lengths(torch.tensor([0, 4]), torch.ones(2))
    guided = ClassifierFree(TwoModels(Pointwise(torch.sin), Pointwise(torch.cos)), 3.0, NONE[:2], 1.0)
    assert bool(guided(torch.ones(2, 1, 4), 0.5, cond).isfinite().all())


def test_autoguidance(pair, x1):
    """Both models see the condition; each end is one model alone, in one call of it."""
    worse = TwoModels(pair.unconditional, pair.conditional)
    worse.t_max = 0.8
    guided = Autoguidance(pair, worse, 2.5)
    assert guided.t_max == 0.8 and guided.schedule is pair.schedule
    assert torch.equal(guided(x1, 0.5, LABELS), ClassifierFree(pair, 2.5, NONE)(x1, 0.5, LABELS))
    pair.calls = worse.calls = 0
    assert torch.equal(Autoguidance(pair, worse, 1.0)(x1, 0.5, LABELS), pair.conditional(x1, 0.5))
    assert (pair.calls, worse.calls) == (1, 0)
    assert torch.equal(Autoguidance(pair, worse, 0.0)(x1, 0.5, LABELS), pair.unconditional(x1, 0.5))
    assert (pair.calls, worse.calls) == (1, 1)
    for options in ({"rescale": 1.0}, {"interval": (5.0, 6.0)}):
        ours, theirs = Autoguidance(pair, worse, 2.5, **options), ClassifierFree(pair, 2.5, NONE, **options)
        assert torch.equal(ours(x1, 0.5, LABELS), theirs(x1, 0.5, LABELS))


def test_guidance_of_guidance(pair, x1):
    """Two weights in a row multiply: u + w (u + v (c - u) - u)."""
    worse = TwoModels(pair.unconditional, pair.unconditional)
    nested = Autoguidance(ClassifierFree(pair, 2.0, NONE), worse, 1.5)
    expected = ClassifierFree(pair, 3.0, NONE)
    assert nested.t_max == 0.9
    assert torch.allclose(nested(x1, 0.5, LABELS), expected(x1, 0.5, LABELS), rtol=0, atol=1e-13)


def test_posterior_takes_the_guided_mean_and_the_learned_variance(pair, x1, generator):
    def network(x_t, log_snr, cond):
        return torch.cat([cond * x_t, 0.5 * torch.ones_like(x_t)], 1)

    denoiser = Denoiser(network, Cosine(), LearnedVariance(V()))
    guided = ClassifierFree(denoiser, 3.0, 0.1)
    mean, log_variance = guided.posterior(x1, 0.6, 0.4, 0.2)
    step = Posterior.between(Cosine().level(0.6), Cosine().level(0.4))
    assert torch.allclose(mean, step.carry * x1 + step.gain * guided(x1, 0.6, 0.2), rtol=0, atol=1e-13)
    assert torch.equal(log_variance, denoiser.posterior(x1, 0.6, 0.4, 0.2)[1])
    noise = torch.randn(6, 32, 1, 6, generator=generator, dtype=torch.float64)
    assert bool(Ancestral(6, "learned")(guided, x1, 0.2, noise=lambda n: noise[n]).isfinite().all())
    mean, log_variance = ClassifierFree(pair, 3.0, NONE).posterior(x1, 0.6, 0.4, LABELS)
    assert mean.shape == x1.shape and log_variance is None


def test_arguments_are_kept_and_t_max_is_the_denoisers(pair):
    join = lambda *both: torch.cat(both)  # noqa: E731
    guided = ClassifierFree(pair, 2.0, NONE, 0.3, (-1.0, 2.0), join)
    kept = (guided.denoiser, guided.weight, guided.unconditional, guided.rescale, guided.interval, guided.join)
    assert kept == (pair, 2.0, NONE, 0.3, (-1.0, 2.0), join)
    auto = Autoguidance(pair, pair, 2.0, 0.3, (-1.0, 2.0))
    assert (auto.denoiser, auto.worse, auto.weight, auto.rescale, auto.interval) == (pair, pair, 2.0, 0.3, (-1.0, 2.0))
    assert guided.t_max == 0.9
    network = Denoiser(lambda x_t, log_snr, cond: x_t, Cosine(), Epsilon())
    assert ClassifierFree(network, 2.0).t_max == network.t_max < 1


@pytest.mark.parametrize("rescale", [-0.1, 1.1, float("nan")])
def test_rescale_is_a_share(rescale, pair):
    with pytest.raises(ValueError, match="rescale"):
        ClassifierFree(pair, 2.0, NONE, rescale)
    with pytest.raises(ValueError, match="rescale"):
        Autoguidance(pair, pair, 2.0, rescale)


def test_interval_upside_down(pair):
    with pytest.raises(ValueError, match="interval"):
        ClassifierFree(pair, 2.0, NONE, interval=(2.0, 1.0))
    ClassifierFree(pair, 2.0, NONE, rescale=1.0, interval=(1.0, 1.0))


@pytest.mark.parametrize("cond", [LABELS[:3], Lengths(LABELS, LABELS[:3]), Lengths(LABELS[:33].repeat(2), LABELS)])
def test_condition_of_another_batch(cond, pair, x1):
    for guided in (ClassifierFree(pair, 2.0, NONE), ClassifierFree(pair, 1.0, NONE), Autoguidance(pair, pair, 2.0)):
        with pytest.raises(ValueError, match="condition"):
            guided(x1, 0.5, cond)
    with pytest.raises(ValueError, match="condition"):
        ClassifierFree(pair, 2.0, cond)(x1, 0.5, LABELS)
    ClassifierFree(pair, 2.0, torch.tensor(0.0).expand(32))(x1, 0.5, torch.tensor(1.0).expand(32))
