"""The lapped transform is orthonormal, and what it selects in time and frequency is a projection without leaks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.lapped_transform import BandRegion, LappedTransform
from audiodiff.errors import UserError

RATE = 8000


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.sampled_from([1, 2, 7, 16]))
def test_it_is_orthonormal_at_any_length(samples, hop):
    transform, signal = LappedTransform(hop), torch.randn(2, samples, dtype=torch.float64)
    coefficients = transform.analyze(signal)
    torch.testing.assert_close(transform.synthesize(coefficients, samples), signal)
    torch.testing.assert_close(coefficients.square().sum((1, 2)), signal.square().sum(1))


def test_a_tone_is_in_its_bin():
    hop = 64
    tone = (2 * math.pi * 1500 / RATE * torch.arange(4000, dtype=torch.float64)).sin()
    power = LappedTransform(hop).analyze(tone).square().mean(0)
    at = 1500 / (RATE / 2 / hop)
    assert abs(int(power.argmax()) + 0.5 - at) <= 1 and power[int(at) - 2 : int(at) + 3].sum() > 0.98 * power.sum()


@pytest.fixture(scope="module")
def region() -> BandRegion:
    return BandRegion(1200, [(100, 500), (650, 1000)], (500, 2000), RATE, 32)


def test_it_is_an_orthogonal_projection(region):
    signal = torch.randn(2, 1200, dtype=torch.float64)
    inside = region(signal)
    torch.testing.assert_close(region(inside), inside)
    assert abs(float((inside * (signal - inside)).sum())) < 1e-9
    assert float(torch.diagonal(region(torch.eye(1200, dtype=torch.float64))).sum()) == pytest.approx(region.dimensions)


def test_it_is_zero_outside_and_smooth_at_the_ends(region):
    noise = torch.randn(64, 1200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inside = region(noise)
    for start, stop in ((0, 100), (500, 650), (1000, 1200)):
        assert not inside[:, start:stop].any()
    level = inside.abs().mean(0)
    assert level[100:102].max() < 0.2 * level[200:400].mean()


def test_other_frequencies_pass():
    region = BandRegion(RATE, [(0, RATE)], (1000, 2000), RATE, 256)
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    for hertz, share in ((300, 0.0), (1500, 1.0), (3000, 0.0)):
        tone = (2 * math.pi * hertz * time).sin()[None]
        assert float(region(tone)[:, 1000:-1000].square().mean() / 0.5) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("parts", "band", "message"),
    [([(0, 63)], (0, 4000), "too short for a band.*0.008 s"), ([(0, 640)], (70, 71), "narrower.*125 Hz")],
)
def test_what_holds_no_function_is_refused(parts, band, message):
    with pytest.raises(UserError, match=message):
        BandRegion(1000, parts, band, RATE, 32)


def test_no_hop():
    with pytest.raises(ValueError, match="hop of at least 1"):
        LappedTransform(0)
