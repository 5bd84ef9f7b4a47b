"""Pitch, voicing and cepstral distortion on signals whose answer is known."""

import math

import numpy as np
import pytest

from audiodiff.metrics import cepstral, pitch, world

RATE = 16000


def tone(f0: float, seconds: float = 1.0) -> np.ndarray:
    """A buzz: harmonics falling by 6 dB an octave."""
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, int(7800 / f0))
    return (0.2 * np.sin(2 * np.pi * f0 * harmonics[:, None] * time) / harmonics[:, None]).sum(0).astype(np.float32)


@pytest.mark.parametrize("cents", [-300, -100, 50, 100])
def test_pitch_error_of_a_transposed_tone_is_the_interval(cents):
    assert pitch.log_f0_rmse(tone(200), tone(200 * 2 ** (cents / 1200)), RATE) == pytest.approx(abs(cents), abs=3)


def test_pitch_error_is_a_root_mean_square():
    reference = np.concatenate([tone(200), tone(200)])
    estimate = np.concatenate([tone(200), tone(200 * 2 ** (100 / 1200))])
    assert pitch.log_f0_rmse(reference, estimate, RATE) == pytest.approx(100 / math.sqrt(2), rel=0.08)


def test_voicing_f1_counts_frames():
    silence = np.zeros(RATE, np.float32)
    both, half = np.concatenate([tone(150), tone(150)]), np.concatenate([tone(150), silence])
    # Half of the voiced frames found: recall 1/2, precision 1. The other way round alike.
    assert pitch.voicing_f1(both, half, RATE) == pytest.approx(2 / 3, abs=0.03)
    assert pitch.voicing_f1(half, both, RATE) == pytest.approx(2 / 3, abs=0.03)


def test_nothing_voiced_is_nan():
    hiss = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    silence = np.zeros_like(hiss)
    assert math.isnan(pitch.voicing_f1(silence, tone(150), RATE))
    assert math.isnan(pitch.log_f0_rmse(tone(150), silence, RATE))


def test_dio_does_not_call_noise_a_voice():
    hiss = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    assert (world.f0_track(hiss, RATE)[0] > 0).mean() < 0.35
    assert (world.f0_track(tone(150), RATE)[0] > 0).mean() > 0.9


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


def test_distortion_is_blind_to_level():
    buzz = tone(150)
    assert cepstral.mel_cepstral_distortion(buzz, 0.25 * buzz, RATE) == pytest.approx(0, abs=1e-3)


def test_distortion_ignores_what_is_far_below_the_loudest():
    rng = np.random.default_rng(0)
    quiet, other = (1e-5 * rng.standard_normal((2, RATE))).astype(np.float32)
    buzz = tone(150)
    whole = cepstral.mel_cepstral_distortion(np.append(buzz, quiet), np.append(buzz, 0.0 * other), RATE)
    assert whole < 0.5
    assert cepstral.mel_cepstral_distortion(quiet, other, RATE) > 2


def test_world_copy_keeps_length_and_pitch():
    buzz = tone(180, 1.013)
    copy = world.resynthesize(buzz, RATE)
    assert copy.shape == buzz.shape and copy.dtype == np.float32
    assert pitch.log_f0_rmse(buzz, copy, RATE) < 20
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(buzz**2)), rel=0.2)
