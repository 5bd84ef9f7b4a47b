"""Resampling in the frequency domain: against sinusoids, other resamplers, and finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.fourier_resampling import fourier_resample
from audiodiff.audio.io import resample


def burst(rate: int, hertz: float = 700.0) -> torch.Tensor:
    """A smooth burst of a tone, of half a second."""
    time = torch.arange(rate // 2, dtype=torch.float64) / rate
    return ((2 * math.pi * hertz * time).sin() * (math.pi * time / 0.5).sin().square()).float()


@pytest.mark.parametrize(("rate", "other"), [(44100, 22050), (8000, 22050), (48000, 16000), (16000, 16000)])
def test_a_tone_is_the_same_tone_at_another_rate(rate, other):
    found = fourier_resample(burst(rate)[None, None], rate, other)
    torch.testing.assert_close(found[0, 0], burst(other), rtol=0, atol=2e-4)


def test_it_agrees_with_the_resampler_of_files_below_its_edge():
    torch.manual_seed(0)
    noise = resample(torch.randn(4000), 8000, 44100)
    inside = slice(1000, -1000)
    found, expected = (how(noise, 44100, 22050)[inside] for how in (fourier_resample, resample))
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(50, 400), st.integers(50, 400))
def test_any_length_and_rates(samples, rate, other):
    found = fourier_resample(torch.ones(2, samples), rate, other)
    assert found.shape == (2, -(-samples * other // rate)) and found.isfinite().all()


def test_the_gradient_is_that_of_finite_differences():
    waveform = torch.randn(1, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float()
    weights = torch.randn(1, 20, generator=torch.Generator().manual_seed(1))
    waveform.requires_grad_()
    (fourier_resample(waveform, 100, 50) * weights).sum().backward()
    # It is linear: the gradient by a sample is the response to a unit there.
    units = fourier_resample(torch.eye(40), 100, 50)
    torch.testing.assert_close(waveform.grad[0], units @ weights[0], rtol=1e-4, atol=1e-5)


def test_what_is_above_the_lower_nyquist_frequency_is_removed():
    assert fourier_resample(burst(44100, 15000.0)[None], 44100, 22050).abs().max() < 1e-3
