"""Splitting signals at a frequency."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.band import ATTENUATION, KNOWN, half_length, highpass, lowpass

RATE = 16000


def tone(hertz: float, samples: int = 16384) -> torch.Tensor:
    return (2 * math.pi * hertz / RATE * torch.arange(samples, dtype=torch.float64)).sin()[None]


@settings(max_examples=20, deadline=None)
@given(st.floats(1000, 7900), st.floats(0, 1))
def test_a_tone_passes_on_one_side_and_is_stopped_on_the_other(cutoff, place):
    edge = half_length((1 - KNOWN) * cutoff, RATE)
    inside = slice(edge, -edge)
    low, high = place * KNOWN * cutoff, cutoff + place * (RATE / 2 - cutoff)
    at, least = torch.tensor([cutoff]), 10 ** (-(ATTENUATION - 6) / 20)
    assert (lowpass(tone(low), at, RATE) - tone(low))[:, inside].abs().max() < least
    assert lowpass(tone(high), at, RATE)[:, inside].abs().max() < least


def test_both_bands_add_up_to_the_signal():
    signal = torch.randn(3, 3001, generator=torch.Generator().manual_seed(0))
    at = torch.tensor([1000.0, 4000.0, 7000.0])
    torch.testing.assert_close(lowpass(signal, at, RATE) + highpass(signal, at, RATE), signal)


def test_rows_are_filtered_as_alone_and_stretches_as_the_whole():
    signal = torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    at, edge = torch.tensor([2000.0, 6000.0]), half_length(0.1 * 2000, RATE)
    both = lowpass(signal, at, RATE)
    for row in range(2):
        torch.testing.assert_close(lowpass(signal[row : row + 1], at[row : row + 1], RATE)[0], both[row])
    part = lowpass(signal[:, 1000:8000], at, RATE)
    torch.testing.assert_close(part[:, edge:-edge], both[:, 1000 + edge : 8000 - edge], atol=1e-6, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_short_signals(samples):
    signal = torch.ones(1, samples)
    assert lowpass(signal, torch.tensor([2000.0]), RATE).shape == signal.shape
