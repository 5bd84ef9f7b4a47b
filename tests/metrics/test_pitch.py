"""Pitch error and voicing F1 of signals of known pitch."""

import math

import numpy as np
import pytest

from audiodiff.metrics import pitch

RATE = 16000


@pytest.mark.parametrize("cents", [-300, -100, 50, 100])
def test_pitch_error_of_a_transposed_tone_is_the_interval(cents, tone):
    assert pitch.log_f0_rmse(tone(200), tone(200 * 2 ** (cents / 1200)), RATE) == pytest.approx(abs(cents), abs=3)


def test_pitch_error_is_a_root_mean_square(tone):
    reference = np.concatenate([tone(200), tone(200)])
    estimate = np.concatenate([tone(200), tone(200 * 2 ** (100 / 1200))])
    assert pitch.log_f0_rmse(reference, estimate, RATE) == pytest.approx(100 / math.sqrt(2), rel=0.08)


def test_voicing_f1_counts_frames(tone):
    silence = np.zeros(RATE, np.float32)
    both, half = np.concatenate([tone(150), tone(150)]), np.concatenate([tone(150), silence])
    # Half of the voiced frames found: recall 1/2, precision 1. The other way round alike.
    assert pitch.voicing_f1(both, half, RATE) == pytest.approx(2 / 3, abs=0.03)
    assert pitch.voicing_f1(half, both, RATE) == pytest.approx(2 / 3, abs=0.03)


def test_nothing_voiced_is_nan(tone):
    hiss = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    silence = np.zeros_like(hiss)
    assert math.isnan(pitch.voicing_f1(silence, tone(150), RATE))
    assert math.isnan(pitch.log_f0_rmse(tone(150), silence, RATE))
