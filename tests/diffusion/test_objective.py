import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.diffusion.clips import combine
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V, amplitude_scale
from audiodiff.diffusion.weighting import P2, SNR, MinSNR, SigmoidWeighting, VariationalBound

OBJECTIVES = [Epsilon, X0, V, Score, Flow]
AT_NOISE = [X0, V, Flow]
WEIGHTINGS = [SNR(), MinSNR(5.0), P2(), SigmoidWeighting(), VariationalBound()]
# Variance preserving, exploding, sub-VP, straight lines, and a louder input.
LEVELS = [(0.8, 0.6), (0.05, math.sqrt(1 - 0.0025)), (1.0, 80.0), (1.0, 0.01), (0.6, 0.64), (0.3, 0.7), (2.0, 0.5)]


def _pair(count=3):
    generator = torch.Generator().manual_seed(11)
    return torch.randn(2, count, 1, 50, generator=generator, dtype=torch.float64)


def _tensors(levels):
    return (torch.tensor(a, dtype=torch.float64).reshape(-1, 1, 1) for a in zip(*levels, strict=True))


@pytest.mark.parametrize(
    ("objective", "of_x0", "of_noise"),
    [(Epsilon, 0, 1), (X0, 1, 0), (V, -4 / 5, 3 / 5), (Score, 0, -1 / 4), (Flow, -1, 1)],
)
def test_targets(objective, of_x0, of_noise):
    x0, noise = _pair()
    expected = of_x0 * x0 + of_noise * noise
    assert torch.allclose(objective().target(x0, noise, 3.0, 4.0), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("first", OBJECTIVES)
@pytest.mark.parametrize("second", OBJECTIVES)
@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_each_converts_into_each(first, second, alpha, sigma):
    x0, noise = _pair()
    x_t = alpha * x0 + sigma * noise
    known = first().x0(first().target(x0, noise, alpha, sigma), x_t, alpha, sigma)
    assert torch.allclose(known, x0, rtol=0, atol=1e-12)
    converted = second().prediction(known, x_t, alpha, sigma)
    expected = second().target(x0, noise, alpha, sigma)
    # x0 is known to one part in 1e15 of x_t / alpha, and a noise is that times alpha / sigma.
    assert torch.allclose(converted, expected, rtol=0, atol=1e-12 * max(1.0, alpha / sigma, 1 / sigma**2))


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.sampled_from(OBJECTIVES), st.floats(-10, 10), st.floats(-10, 10))
def test_prediction_and_x0_are_inverse(alpha, sigma, objective, x0, noise):
    x0, noise = (torch.tensor([[[value]]], dtype=torch.float64) for value in (x0, noise))
    x_t = alpha * x0 + sigma * noise
    back = objective().x0(objective().prediction(x0, x_t, alpha, sigma), x_t, alpha, sigma)
    assert torch.allclose(back, x0, rtol=0, atol=1e-13 * max(1.0, sigma / alpha) * 100)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_tensors_and_numbers_are_one(objective):
    x0, noise = _pair(len(LEVELS))
    alpha, sigma = _tensors(LEVELS)
    x_t = alpha * x0 + sigma * noise
    methods = [(o.target, noise) if o else None for o in (objective(),)]
    for method, other in [*methods, (objective().x0, x_t), (objective().prediction, x_t)]:
        both = method(x0, other, alpha, sigma)
        singles = [method(x0[i : i + 1], other[i : i + 1], *level) for i, level in enumerate(LEVELS)]
        assert torch.allclose(both, torch.cat(singles), rtol=1e-14, atol=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_single_precision_signals_stay_single(objective):
    x0, noise = _pair(len(LEVELS))
    alpha, sigma = _tensors(LEVELS)
    single = objective().target(x0.float(), noise.float(), alpha, sigma)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), objective().target(x0, noise, alpha, sigma), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("objective", AT_NOISE)
def test_pure_noise_is_no_obstacle(objective):
    x0, noise = _pair()
    for sigma in (1.0, 2.5):
        target = objective().target(x0, noise, 0.0, sigma)
        assert torch.allclose(objective().x0(target, sigma * noise, 0.0, sigma), x0, rtol=0, atol=1e-14)
        for other in OBJECTIVES:
            expected = other().target(x0, noise, 0.0, sigma)
            assert torch.allclose(other().prediction(x0, sigma * noise, 0.0, sigma), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_clean_data_is_no_obstacle(objective):
    x0, anything = _pair()
    for alpha in (1.0, 0.5):
        x_t = alpha * x0
        output = x0 if objective is X0 else anything
        assert torch.allclose(objective().x0(output, x_t, alpha, 0.0), x0, rtol=0, atol=1e-14)
    assert X0().prediction(x0, x_t, alpha, 0.0) is x0


def test_x0_does_not_look_at_the_noisy_signal():
    x0, broken = _pair()[0], torch.full((3, 1, 50), math.nan, dtype=torch.float64)
    assert torch.equal(X0().x0(x0, broken, 0.6, 0.8), x0)
    assert torch.equal(combine((0.0, 2.0), (broken, x0)), 2 * x0)


@pytest.mark.parametrize("objective", [Epsilon, Score])
@pytest.mark.parametrize("alpha", [0.0, torch.tensor([0.5, 0.0, 0.7], dtype=torch.float64).reshape(-1, 1, 1)])
def test_no_x0_from_noise_at_pure_noise(objective, alpha):
    x0, noise = _pair()
    with pytest.raises(ValueError, match="alpha = 0"):
        objective().x0(noise, x0, alpha, 1.0)
    if isinstance(alpha, torch.Tensor):
        with pytest.raises(ValueError, match="alpha = 0"):
            objective(MinSNR()).loss_weight(alpha, 1 - alpha)


def test_who_starts_at_noise():
    assert [o().starts_at_noise for o in OBJECTIVES] == [o in AT_NOISE for o in OBJECTIVES]


@pytest.mark.parametrize("sigma", [0.0, torch.tensor([0.5, 0.0, 0.7], dtype=torch.float64).reshape(-1, 1, 1)])
def test_no_noise_from_x0_at_clean_data(sigma):
    x0, noise = _pair()
    for objective in (Epsilon, V, Score, Flow):
        with pytest.raises(ValueError, match="sigma = 0"):
            objective().prediction(x0, x0, 1.0, sigma)
    with pytest.raises(ValueError, match="score is infinite"):
        Score().target(x0, noise, 1.0, sigma)


def test_amplitudes_on_a_device_are_not_read():
    empty = torch.empty(3, 1, 1, device="meta")
    assert (
        Epsilon().x0(torch.empty(3, 1, 50, device="meta"), torch.empty(3, 1, 50, device="meta"), empty, empty).is_meta
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weighted_losses_are_one_loss(weighting):
    """The same x0 estimate costs the same whatever the network is said to predict."""
    x0, noise = _pair(len(LEVELS))
    alpha, sigma = _tensors(LEVELS)
    x_t = alpha * x0 + sigma * noise
    estimate = x0 + 0.1 * noise.flip(0)
    slope = -torch.arange(1.0, 8.0, dtype=torch.float64).reshape(-1, 1, 1)
    expected = weighting(2 * torch.log(alpha / sigma), lambda: slope) * (estimate - x0).square()
    for objective in (o(weighting) for o in OBJECTIVES):
        outputs = (objective.prediction(x, x_t, alpha, sigma) for x in (estimate, x0))
        error = next(outputs) - next(outputs)
        cost = objective.loss_weight(alpha, sigma, lambda: slope) * error.square()
        assert torch.allclose(cost.mean((1, 2)), expected.mean((1, 2)), rtol=1e-12, atol=0)


def test_published_weights():
    alpha, sigma = _tensors([(0.95, math.sqrt(1 - 0.95**2)), (0.3, math.sqrt(0.91))])
    snr = (alpha / sigma) ** 2
    bounded = snr.clamp(max=5.0)
    for objective, expected in ((Epsilon, bounded / snr), (X0, bounded), (V, bounded / (snr + 1))):
        assert torch.allclose(objective(MinSNR()).loss_weight(alpha, sigma), expected, rtol=1e-12)
    assert torch.allclose(Epsilon(SNR()).loss_weight(alpha, sigma), torch.ones_like(snr), rtol=1e-12)
    assert torch.allclose(Epsilon(P2(2.0, 0.5)).loss_weight(alpha, sigma), (2 + snr) ** -0.5, rtol=1e-12)
    assert torch.allclose(Score(SNR()).loss_weight(alpha, sigma), sigma**2, rtol=1e-12)
    assert torch.allclose(Flow(SNR()).loss_weight(alpha, sigma), (alpha / (alpha + sigma)) ** 2, rtol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_without_a_weighting_the_own_error_counts(objective):
    alpha, sigma = _tensors(LEVELS)
    assert torch.equal(objective().loss_weight(alpha, sigma), torch.ones_like(alpha))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_are_finite_at_the_ends(objective, weighting):
    alpha, sigma = _tensors([(1.0, 0.0), (0.0, 1.0)] if objective in AT_NOISE else [(1.0, 0.0)])
    assert torch.isfinite(objective(weighting).loss_weight(alpha, sigma, lambda: torch.zeros_like(alpha))).all()


def test_weights_beyond_the_bound_are_those_at_the_bound():
    alpha, sigma = _tensors([(1.0, 1e-6), (1e-6, 1.0)])
    assert X0(SNR()).loss_weight(alpha, sigma).flatten().tolist() == pytest.approx([math.exp(20), math.exp(-20)])


def test_scale():
    assert amplitude_scale(3.0, 4.0) == 5.0
    assert torch.equal(amplitude_scale(torch.tensor(5.0), torch.tensor(12.0)), torch.tensor(13.0))


def test_without_variance_the_answer_is_the_prediction():
    output = torch.ones(2, 1, 4)
    prediction, fraction = V().split(output, 1)
    assert prediction is output and fraction is None


def test_weighting_is_kept():
    weighting = MinSNR(3.0)
    assert all(objective(weighting).weighting is weighting for objective in OBJECTIVES)
