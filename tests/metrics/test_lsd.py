"""Log-spectral distance."""

import math

import numpy as np
import pytest

from audiodiff.metrics.lsd import log_spectral_distance

NOISE = np.random.default_rng(0).standard_normal(16000)


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_a_gain_is_its_logarithm_at_all_frequencies(gain):
    for above in (0, 4000):
        distance = log_spectral_distance(NOISE, gain * NOISE, 16000, above)
        assert distance == pytest.approx(abs(2 * math.log10(gain)), abs=1e-3)


def test_only_what_lies_above_counts():
    spectrum = np.fft.rfft(NOISE)
    spectrum[np.fft.rfftfreq(16000, 1 / 16000) < 3000] *= 2
    other = np.fft.irfft(spectrum)
    assert log_spectral_distance(NOISE, other, 16000, 4000) < 0.1 < log_spectral_distance(NOISE, other, 16000)
    assert math.isnan(log_spectral_distance(NOISE, other, 16000, 9000))


def test_two_draws_of_noise_are_as_far_apart_as_their_distribution_says():
    """The log10 of an exponential variable has a standard deviation of pi / sqrt(6) / ln 10."""
    other = np.random.default_rng(1).standard_normal(16000)
    expected = math.sqrt(2) * math.pi / math.sqrt(6) / math.log(10)
    assert log_spectral_distance(NOISE, other, 16000) == pytest.approx(expected, abs=0.03)


def test_silence_has_a_bound():
    assert log_spectral_distance(NOISE, 0 * NOISE, 16000) < 8
    assert log_spectral_distance(0 * NOISE, 0 * NOISE, 16000) == 0
