"""Clips heard one after the other: their traits, and that none is kept."""

import weakref

import numpy as np
import pytest

from audiodiff.evaluation.clip_features import Body
from audiodiff.metrics.timbre import embedding

RATE = 8000


def tone(hertz: float = 440.0, level: float = 0.1, seconds: float = 1.0) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([wave, wave]).astype(np.float32)


def test_traits_of_tones_are_known_ones():
    body = Body.heard([tone(level=0.1), tone(1000.0, level=0.8)], RATE)
    assert len(body) == 2 and body.silent == 0
    np.testing.assert_array_equal(body.embeddings[1], embedding(tone(1000.0, level=0.8), RATE))
    np.testing.assert_allclose(body.crest_db, 10 * np.log10(2), atol=0.01)
    # Of full scale: a sine at 1 kHz has -3 dB, which weighting takes for -3 LUFS; one channel is asked for.
    assert body.loudness[1] == pytest.approx(-3.0, abs=0.2) and body.loudness.shape == (2,)
    assert np.isnan(body.tempo).all() and not body.regular.any()


def test_clicks_have_a_tempo():
    clicks = np.zeros((1, 6 * RATE), np.float32)
    clicks[:, :: RATE // 2] = 1.0
    body = Body.heard([clicks], RATE)
    assert body.tempo[0] == pytest.approx(120, rel=0.02) and body.regular[0] > 0.8


def test_what_is_not_heard_is_counted():
    against = tone() * np.array([[1], [-1]], np.float32)  # nothing is left where channels are mixed
    body = Body.heard([np.zeros((2, RATE), np.float32), tone(), against, np.full((2, RATE), np.nan)], RATE)
    assert len(body) == 1 and body.silent == 2 and body.not_finite == 1
    assert len(Body.heard([], RATE)) == 0 == Body.heard([], RATE).silent


def test_no_clip_is_kept():
    kept = []

    def clips():
        for hertz in (200.0, 300.0, 400.0):
            clip = tone(hertz)
            kept.append(weakref.ref(clip))
            yield clip
            del clip
            assert sum(one() is not None for one in kept) <= 1  # the one that is at hand

    assert len(Body.heard(clips(), RATE)) == 3
