"""WORLD analysis and copy synthesis."""

import numpy as np
import pytest

from audiodiff.metrics import pitch, world

RATE = 16000


def test_noise_is_mostly_unvoiced(tone):
    hiss = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    assert (world.f0_track(hiss, RATE)[0] > 0).mean() < 0.35
    assert (world.f0_track(tone(150), RATE)[0] > 0).mean() > 0.9


def test_world_copy_keeps_length_and_pitch(tone):
    buzz = tone(180, 1.013)
    copy = world.resynthesize(buzz, RATE)
    assert copy.shape == buzz.shape and copy.dtype == np.float32
    assert pitch.log_f0_rmse(buzz, copy, RATE) < 20
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(buzz**2)), rel=0.2)
