"""What is known of a degraded signal: projections, fades, extrapolation and clip levels, in closed form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.clipping import clip_levels
from audiodiff.audio.linear_prediction import burg, extrapolate, interpolate
from audiodiff.audio.observation import Observation

RATE = 16000


def tone(hertz: float = 110.0, seconds: float = 0.5, harmonics: int = 10, rate: int = RATE) -> torch.Tensor:
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return sum(0.2 * torch.sin(2 * math.pi * hertz * k * t + k) / k for k in range(1, harmonics + 1)).float()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 1.5), st.floats(0.05, 1.5), st.floats(0.01, 10))
def test_a_clipped_signal_is_completed_within_its_bounds(seed, above, below, size):
    original, levels = noise(2, 500, seed=seed), torch.tensor([[above, below], [below, above]])
    recording = torch.maximum(torch.minimum(original, levels[:, :1]), -levels[:, 1:])
    observation = Observation.clipped(recording, levels)
    known = observation.saturation == 0
    restored = observation.complete(size * noise(2, 500, seed=seed + 1))
    assert torch.equal(restored[known], recording[known]) and torch.equal(known, observation.weight == 0)
    assert (restored >= levels[:, :1])[observation.saturation == 1].all()
    assert (restored <= -levels[:, 1:])[observation.saturation == -1].all()
    torch.testing.assert_close(
        observation.complete(original - recording), original
    )  # which the projection leaves alone
    assert not observation.free.any()


def test_the_projection_is_the_closest_point():
    """Onto an interval: a point inside stays, another one goes to the near end."""
    observation = Observation.clipped(torch.tensor([[0.5, -0.5, 0.2, 0.5]]), torch.tensor([0.5]))
    estimate = torch.tensor([[0.3, -0.2, 0.0, 0.4]])
    assert torch.equal(observation.complete(estimate), torch.tensor([[0.8, -0.7, 0.2, 0.9]]))
    assert torch.equal(observation.complete(-estimate), torch.tensor([[0.5, -0.5, 0.2, 0.5]]))


def test_the_gradient_of_a_violated_bound_leads_back():
    observation = Observation.clipped(torch.tensor([[0.5, 0.1]]), torch.tensor([0.5]))
    correction = torch.tensor([[-0.2, 0.3]], requires_grad=True)
    observation.complete(correction).sum().backward()
    assert torch.equal(correction.grad, torch.tensor([[1.0, 0.0]]))


def test_of_noise_nothing_is_kept():
    recording, correction = noise(1, 50), noise(1, 50, seed=1)
    observation = Observation.noisy(recording)
    assert torch.equal(observation.complete(correction), recording + correction)
    assert observation.free.all() and not observation.saturation.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 7000), st.integers(1, 900), st.sampled_from([8000, 16000, 44100]))
def test_outside_of_gaps_nothing_changes_and_borders_are_seamless(start, length, rate):
    recording = tone(rate=rate)
    start = min(start, len(recording) - 1)
    stop = min(start + length, len(recording))
    broken = recording.clone()
    broken[start:stop] = math.nan
    observation = Observation.with_gaps(broken[None], [[(start, stop)]], rate)
    restored = observation.complete(noise(1, len(recording)))[0]
    assert restored.isfinite().all()
    assert torch.equal(restored[:start], recording[:start]) and torch.equal(restored[stop:], recording[stop:])
    expected = torch.zeros(len(recording))
    expected[start:stop] = 1
    assert torch.equal(observation.free[0], expected)
    if start > rate // 10 and stop < len(recording) - rate // 10:  # the first sample is hardly corrected
        assert observation.weight[0, start] < 0.05 and observation.weight[0, stop - 1] < 0.05
        assert observation.weight[0, (start + stop) // 2] == pytest.approx(
            math.sin(min((stop - start) / 2 / (0.002 * rate), 1) * math.pi / 2) ** 2, abs=0.1
        )


@pytest.mark.parametrize(("milliseconds", "decibels"), [(5, 35), (20, 30), (50, 20)])
def test_a_periodic_sound_goes_on(milliseconds, decibels):
    recording, length = tone(), round(milliseconds * RATE / 1000)
    broken = recording.clone()
    broken[4000 : 4000 + length] = 0
    filled = interpolate(broken, [(4000, 4000 + length)], RATE)
    error = (filled - recording)[4000 : 4000 + length].square().sum()
    ratio = 10 * torch.log10(recording[4000 : 4000 + length].square().sum() / error)
    assert ratio > decibels and torch.equal(filled[:4000], recording[:4000])


def test_a_resonance_is_extrapolated_by_its_equation():
    """x_n = 2 cos(w) x_(n-1) - x_(n-2): Burg's method of order 2 finds it, and continues it."""
    angle = 0.3
    n = np.arange(900)
    signal = np.cos(angle * n)
    np.testing.assert_allclose(burg(signal[:600], 2), [1, -2 * np.cos(angle), 1], atol=1e-3)
    assert np.abs(extrapolate(signal[:600], 100, 2) - signal[600:700]).max() < 0.1


@pytest.mark.parametrize("context", [np.zeros(500), np.zeros(0), np.ones(2), np.ones(500)])
def test_what_can_hardly_be_extrapolated_is_finite(context):
    assert np.isfinite(extrapolate(context, 50, 100)).all() and len(extrapolate(context, 50, 100)) == 50


@pytest.mark.parametrize("between", [8, 20, 40, 80, 160])
def test_a_side_of_a_few_samples_does_not_spoil_what_the_other_one_tells(between):
    """Two gaps close to each other, and one just before the end."""
    recording, length = tone(), RATE // 50
    end = len(recording) - between - length
    for gaps in (
        [(4000, 4000 + length), (4000 + length + between, 4000 + 2 * length + between)],
        [(end, end + length)],
    ):
        filled = interpolate(recording, gaps, RATE)
        for start, stop in gaps:
            error = (filled - recording)[start:stop].square().sum()
            assert 10 * torch.log10(recording[start:stop].square().sum() / error) > 18


def test_gaps_at_the_ends_are_filled_from_one_side():
    recording = tone()
    for start, stop in ((0, 100), (len(recording) - 100, len(recording))):
        filled = interpolate(torch.cat([recording]), [(start, stop)], RATE)
        assert (filled - recording)[start:stop].abs().max() < 0.05


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.integers(0, 1000), st.booleans())
def test_levels_of_clipping_are_found(above, below, seed, quantized):
    original = 0.3 * noise(20000, seed=seed).cumsum(0)
    original = original / original.abs().max()
    high, low = float(original.max()), float(-original.min())
    above, below = above * high, below * low
    if min(above, below) < 0.03:
        return
    recording = original.clamp(-below, above)
    if quantized:
        recording = (recording * 32768).round() / 32768
    found = clip_levels(recording)
    assert found == pytest.approx((above, below), abs=7e-5)
    observation = Observation.clipped(recording[None], torch.tensor([found]))
    reached = (original >= above) | (original <= -below)
    assert observation.weight[0][reached].all()


@pytest.mark.parametrize("signal", [tone(), tone(harmonics=1), 0.3 * noise(20000), torch.zeros(100), torch.zeros(0)])
def test_what_was_not_clipped_has_no_level(signal):
    assert clip_levels(signal) == (math.inf, math.inf)


def test_clipping_that_was_filtered_is_found():
    clipped = 0.5 * noise(20000).clamp(-1, 1) + 1e-4 * noise(20000, seed=1)
    above, below = clip_levels(clipped)
    assert 0.49 < above < 0.5 and 0.49 < below < 0.5


def test_tops_of_one_or_two_samples_have_the_exact_level():
    """At a low rate no top holds three samples, so that only their number tells; the level is that of the largest."""
    original = torch.sin(1.9 * torch.arange(4000)) * (1 + 0.1 * torch.sin(0.01 * torch.arange(4000)))
    clipped = original.clamp(max=0.9)
    tops = clipped == 0.9
    assert not (tops[2:] & tops[1:-1] & tops[:-2]).any()
    level, _ = clip_levels(clipped)
    assert level == pytest.approx(0.9, abs=4e-5)
    assert bool((clipped >= level)[tops].all())
