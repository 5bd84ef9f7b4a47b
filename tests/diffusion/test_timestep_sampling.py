import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.timestep_sampling import LossSecondMoment, LowDiscrepancy, Uniform


def draw(source, batch: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return source.sample(batch, torch.Generator().manual_seed(seed))


def steep(bins: int = 4, history: int = 2, uniform: float = 0.1) -> LossSecondMoment:
    """A source that has seen the losses 1 and 7, 3 and 3, ... in its bins."""
    source = LossSecondMoment(bins, history, uniform)
    for bin in range(bins):
        center = torch.full((history,), (bin + 0.5) / bins)
        source.update(center, torch.tensor([2.0 * bin + 1 + 6 * (k and not bin) for k in range(history)]))
    return source


@settings(max_examples=50, deadline=None)
@given(batch=st.integers(1, 64), seed=st.integers(0, 2**31))
def test_even_times_fall_one_into_each_stratum(batch, seed):
    """Sorted, the times are 1 / B apart: any window of that length, around the circle, holds exactly one."""
    t, weights = draw(LowDiscrepancy(), batch, seed)
    t = t.sort().values
    assert t.shape == weights.shape == (batch,) and t.dtype == weights.dtype == torch.float32
    assert t.min() >= 0 and t.max() < 1 and (weights == 1).all()
    gaps = torch.cat([t.diff(), (t[:1] + 1 - t[-1:])])
    torch.testing.assert_close(gaps, torch.full((batch,), 1 / batch), atol=1e-5, rtol=0)


def test_even_times_are_one_draw_and_one_order():
    """Of the generator, in this order: a run that goes on sees the times that it would have seen."""
    generator = torch.Generator().manual_seed(4)
    start, order = torch.rand(1, generator=generator), torch.randperm(6, generator=generator)
    assert torch.equal(draw(LowDiscrepancy(), 6, 4)[0], (start + order / 6) % 1)


@pytest.mark.parametrize("source", [Uniform(), LowDiscrepancy(), LossSecondMoment()])
def test_times_of_each_clip_are_uniform(source):
    """Kolmogorov-Smirnov at the 0.1 % level, for the first and the last clip of a batch."""
    draws = torch.stack([draw(source, 8, seed)[0] for seed in range(2000)])
    for clip in (0, 7):
        t = draws[:, clip].sort().values
        distance = (t - (torch.arange(2000) + 0.5) / 2000).abs().max()
        assert distance < 1.95 / 2000**0.5


def test_uniform_times_are_independent():
    draws = torch.stack([draw(Uniform(), 2, seed)[0] for seed in range(2000)])
    assert draws.shape == (2000, 2) and draws.dtype == torch.float32
    assert abs(float(torch.corrcoef(draws.T)[0, 1])) < 4 / 2000**0.5
    assert (draw(Uniform(), 5, 0)[1] == torch.ones(5)).all()


def test_even_times_lessen_the_variance():
    """Of the mean of (1 + t)^2 over B = 16 clips: from (31 / 5 - 49 / 9) / B to about (4 - 1)^2 / 12 B^2."""
    means = {}
    for source in (Uniform(), LowDiscrepancy()):
        t = torch.stack([draw(source, 16, seed)[0] for seed in range(500)])
        means[type(source)] = float((1 + t).square().mean(1).var())
    assert means[Uniform] == pytest.approx((31 / 5 - 49 / 9) / 16, rel=0.25)
    assert means[LowDiscrepancy] == pytest.approx(9 / 12 / 16**2, rel=0.25)


def test_density_follows_the_losses():
    """sqrt(E[L^2]) is sqrt((1 + 49) / 2) = 5, 3, 5, 7: of mean 5, nine tenths of it beside a tenth of uniform."""
    expected = [0.9 * moment / 5 + 0.1 for moment in (5, 3, 5, 7)]
    assert steep().density().tolist() == pytest.approx(expected, rel=1e-14)


def test_only_the_last_losses_count():
    source = steep()
    source.update(torch.tensor([0.1, 0.6, 0.2, 0.6, 0.1]), torch.tensor([100.0, 9.0, 3.0, 9.0, 3.0]))
    assert source.density().tolist() == pytest.approx([0.9 * m / 5.5 + 0.1 for m in (3, 3, 9, 7)], rel=1e-14)


def test_times_are_uniform_until_every_memory_is_full():
    source = LossSecondMoment(bins=4, history=2)
    for t in (0.1, 0.3, 0.6, 0.9, 0.1, 0.3, 0.6):
        source.update(torch.tensor([t]), torch.tensor([10 * t]))
        assert source.density().tolist() == [1.0] * 4
        even = draw(LowDiscrepancy(), 16, 5)
        t, weights = draw(source, 16, 5)
        torch.testing.assert_close(t, even[0], atol=1e-6, rtol=0)
        assert (weights == 1).all()
    source.update(torch.tensor([0.9]), torch.tensor([9.0]))
    assert source.density().tolist() != [1.0] * 4


def test_weights_are_the_inverse_density_of_their_bin():
    source = steep()
    t, weights = draw(source, 1000, 0)
    index = (t.double() * 4).long().clamp(max=3)
    assert t.dtype == weights.dtype == torch.float32
    assert float((weights - 1 / source.density()[index].float()).abs().max()) < 1e-6
    assert float(weights.mean()) == pytest.approx(1, abs=5e-3)
    counts = torch.bincount(index, minlength=4) / 1000
    torch.testing.assert_close(counts.double(), source.density() / 4, atol=2e-3, rtol=0)


def test_times_go_evenly_through_the_density():
    """The distribution function of the sorted times is a straight line with steps of 1 / B."""
    source = steep()
    t = draw(source, 400, 3)[0].double().sort().values
    ends = torch.cat([torch.zeros(1, dtype=torch.float64), (source.density() / 4).cumsum(0)])
    index = (t * 4).long().clamp(max=3)
    shares = ends[index] + (t - index / 4) * source.density()[index]
    torch.testing.assert_close(shares.diff(), torch.full((399,), 1 / 400, dtype=torch.float64), atol=1e-6, rtol=0)


def test_weighted_losses_are_unbiased_and_vary_less():
    """The mean of exp(3 t) over uniform t is (e^3 - 1) / 3, however the times are drawn."""
    source = LossSecondMoment(bins=16, history=10)
    centers = (torch.arange(16).repeat_interleave(10) + 0.5) / 16
    source.update(centers, (3 * centers).exp())
    estimates = {}
    for name in ("even", "moment"):
        chosen = source if name == "moment" else LowDiscrepancy()
        pairs = [draw(chosen, 1, seed) for seed in range(2000)]
        estimates[name] = torch.stack([(weights * (3 * t).exp()).mean() for t, weights in pairs])
    error = estimates["moment"].std() / 2000**0.5
    assert abs(float(estimates["moment"].mean()) - (math.e**3 - 1) / 3) < 4 * float(error)
    assert estimates["moment"].var() < estimates["even"].var() / 50


def test_gradient_is_unbiased():
    """For the loss (p - t)^2 with p = 0, whose mean gradient is -1, over a fine and even cover of the density."""
    t, weights = draw(steep(), 100000, 1)
    assert float((weights * -2 * t).mean()) == pytest.approx(-1, abs=1e-4)


def test_every_loss_finds_its_bin():
    source = LossSecondMoment(bins=4, history=1)
    source.update(torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert source.losses.flatten().tolist() == [1.0, 2.0, 3.0, 4.0] and source.counts.tolist() == [1] * 4


def test_broken_losses_are_left_out():
    source = LossSecondMoment(bins=2, history=2)
    source.update(torch.full((4,), 0.1), torch.tensor([math.nan, 2.0, math.inf, -math.inf]))
    assert source.counts.tolist() == [1, 0] and source.losses[0, 0] == 2


def test_losses_of_nothing_leave_times_uniform():
    source = LossSecondMoment(bins=2, history=1)
    source.update(torch.tensor([0.1, 0.9]), torch.zeros(2))
    assert source.density().tolist() == [1.0, 1.0]


def test_no_weight_exceeds_the_inverse_of_the_uniform_share():
    source = LossSecondMoment(bins=2, history=1)
    source.update(torch.tensor([0.1, 0.9]), torch.tensor([0.0, 1.0]))
    assert source.density().tolist() == pytest.approx([0.001, 1.999], rel=1e-12)
    t, weights = draw(source, 4000, 0)
    assert float(t.min()) >= 0 and float(t.max()) <= 1
    assert float(weights.max()) == pytest.approx(1000)


@pytest.mark.parametrize("make", [Uniform, LowDiscrepancy, steep])
def test_state_goes_on(make):
    source, resumed = make(), LossSecondMoment(4, 2, 0.1) if make is steep else make()
    state = source.state_dict()
    resumed.load_state_dict(state)
    for source_ in (source, resumed):
        source_.update(torch.tensor([0.6, 0.1]), torch.tensor([5.0, 8.0]))
    for seed in range(3):
        for one, other in zip(draw(source, 8, seed), draw(resumed, 8, seed), strict=True):
            assert torch.equal(one, other)
    fresh = LossSecondMoment(4, 2, 0.1) if make is steep else make()
    fresh.load_state_dict(state)
    assert all(torch.equal(value, make().state_dict()[name]) for name, value in fresh.state_dict().items())


def test_state_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 2\), not \(100, 10\)"):
        LossSecondMoment().load_state_dict(steep().state_dict())


@pytest.mark.parametrize(
    "arguments", [{"bins": 0}, {"history": 0}, {"uniform": 0.0}, {"uniform": 1.005}, {"uniform": math.nan}]
)
def test_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match="bins and history"):
        LossSecondMoment(**arguments)


def test_arguments_are_kept():
    source = LossSecondMoment()
    assert (source.bins, source.history, source.uniform) == (100, 10, 0.001)
    assert source.losses.shape == (100, 10) and source.losses.dtype == torch.float64
    least = LossSecondMoment(1, 1, 1.0)
    assert (least.bins, least.history, least.uniform) == (1, 1, 1.0)
