"""Mel-cepstral distortion of envelopes with a known distance."""

import math

import numpy as np
import pytest

from audiodiff.metrics import cepstral

RATE = 16000


@pytest.mark.parametrize("ripple", [1, 2, 5, 12])
def test_distortion_of_a_ripple_is_its_root_mean_square_in_decibels(ripple):
    # ln amplitude differs by a cos(m phi) over the mel axis: rms of 20 log10 is 20 / ln 10 * a / sqrt 2.
    hz = np.linspace(0, RATE / 2, 513)
    mel = 1127.01048 * np.log1p(hz / 700)
    low, high = 1127.01048 * np.log1p(np.array([40, RATE / 2]) / 700)
    wave = np.cos(ripple * np.pi * (mel - low) / (high - low))
    flat, rippled = np.ones((4, 513)), np.exp(2 * 0.3 * wave)[None].repeat(4, 0)
    found = cepstral.distortion(*(cepstral.mel_cepstrum(power, RATE) for power in (flat, rippled)))
    np.testing.assert_allclose(found, 20 / np.log(10) * 0.3 / math.sqrt(2), rtol=0.02)


def test_distortion_ignores_level(tone):
    buzz = tone(150)
    assert cepstral.mel_cepstral_distortion(buzz, 0.25 * buzz, RATE) == pytest.approx(0, abs=1e-3)


def test_distortion_ignores_frames_far_below_the_loudest(tone):
    rng = np.random.default_rng(0)
    quiet, other = (1e-5 * rng.standard_normal((2, RATE))).astype(np.float32)
    buzz = tone(150)
    whole = cepstral.mel_cepstral_distortion(np.append(buzz, quiet), np.append(buzz, 0.0 * other), RATE)
    assert whole < 0.5
    assert cepstral.mel_cepstral_distortion(quiet, other, RATE) > 2
