"""Pitch shifts: the new F0 is the old one times the factor, formants and power stay, silence and noise too."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from audiodiff.audio.pitch import yin
from audiodiff.audio.psola import shift_pitch

RATE = 24000
PARTS_PER_SECOND = 80
POLE = 0.97 * np.exp(2j * np.pi * 1200 / RATE)  # a formant at 1200 Hz


def vowel(f0):
    """A vowel on an F0 contour (F,): harmonics, filtered by one formant."""
    samples = len(f0) * RATE // PARTS_PER_SECOND
    part = (np.arange(samples) + 0.5) * PARTS_PER_SECOND / RATE - 0.5
    phase = 2 * np.pi * np.cumsum(np.interp(part, np.arange(len(f0)), f0)) / RATE
    harmonics = sum(np.cos(number * phase) for number in range(1, int(11000 / f0.max()) + 1))
    return lfilter([1], [1, -2 * POLE.real, abs(POLE) ** 2], 0.01 * harmonics).astype(np.float32)


def formant(samples):
    """Frequency at which the smoothed spectrum has its peak."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    width = round(400 * len(samples) / RATE)
    return np.convolve(spectrum, np.hanning(width), "same").argmax() * RATE / len(samples)


@pytest.mark.parametrize("semitones", [-7.0, -3.0, 4.0, 7.0])
def test_f0_is_scaled_exactly_and_the_formant_and_power_stay(semitones):
    f0 = np.linspace(160, 240, PARTS_PER_SECOND)
    plain = vowel(f0)
    shifted = shift_pitch(plain, f0, RATE, semitones)
    assert shifted.shape == plain.shape and shifted.dtype == np.float32
    measured, _ = yin(torch.from_numpy(shifted)[None], RATE, RATE // PARTS_PER_SECOND, len(f0))
    inner = slice(8, -8)
    # Frames of the estimator lie at the edges of the parts.
    expected = (f0 - 0.5 * (f0[1] - f0[0])) * 2 ** (semitones / 12)
    assert measured[0].numpy()[inner] == pytest.approx(expected[inner], rel=0.02)
    assert formant(shifted) == pytest.approx(formant(plain), abs=150)
    assert np.mean(shifted**2) == pytest.approx(np.mean(plain**2), rel=0.1)


def test_what_is_unvoiced_stays():
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert np.array_equal(shift_pitch(noise, np.zeros(80), RATE, 5.0), noise)
    f0 = np.where(np.arange(80) < 40, 200.0, 0.0)
    shifted = shift_pitch(noise, f0, RATE, -5.0)
    half = slice(RATE // 2 + 500, RATE - 500)
    assert np.std(shifted[half]) == pytest.approx(np.std(noise[half]), rel=0.1)


def test_no_shift_changes_nothing():
    f0 = np.linspace(240, 160, PARTS_PER_SECOND)
    plain = vowel(f0)
    assert shift_pitch(plain, f0, RATE, 0.0)[500:-500] == pytest.approx(
        plain[500:-500], abs=1e-3
    )  # its gain makes up for the ends


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.just(0.0), st.floats(40, 800)), min_size=1, max_size=12), st.floats(-24, 24))
def test_any_contour_gives_finite_samples_of_the_same_length(f0, semitones):
    samples = np.linspace(-1, 1, 300 * len(f0), dtype=np.float32)
    shifted = shift_pitch(samples, np.array(f0), RATE, semitones)
    assert shifted.shape == samples.shape and np.isfinite(shifted).all()
