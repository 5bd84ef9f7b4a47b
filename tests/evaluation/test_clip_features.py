"""Features of clips, extracted one at a time."""

import weakref

import numpy as np
import pytest

from audiodiff.evaluation.clip_features import ClipFeatures
from audiodiff.metrics.timbre import embedding

RATE = 8000


def tone(hertz: float = 440.0, level: float = 0.1, seconds: float = 1.0) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([wave, wave]).astype(np.float32)


def test_features_of_tones_have_known_values():
    features = ClipFeatures.extract([tone(level=0.1), tone(1000.0, level=0.8)], RATE)
    assert len(features) == 2 and features.silent == 0
    np.testing.assert_array_equal(features.embeddings[1], embedding(tone(1000.0, level=0.8), RATE))
    np.testing.assert_allclose(features.crest_db, 10 * np.log10(2), atol=0.01)
    # A full-scale sine at 1 kHz has about -3 LUFS.
    assert features.loudness[1] == pytest.approx(-3.0, abs=0.2) and features.loudness.shape == (2,)
    assert np.isnan(features.tempo).all() and not features.pulse_clarity.any()


def test_clicks_have_a_tempo():
    clicks = np.zeros((1, 6 * RATE), np.float32)
    clicks[:, :: RATE // 2] = 1.0
    features = ClipFeatures.extract([clicks], RATE)
    assert features.tempo[0] == pytest.approx(120, rel=0.02) and features.pulse_clarity[0] > 0.8


def test_silent_and_not_finite_clips_are_counted():
    canceled = tone() * np.array([[1], [-1]], np.float32)  # cancels in the mono mix
    features = ClipFeatures.extract(
        [np.zeros((2, RATE), np.float32), tone(), canceled, np.full((2, RATE), np.nan)], RATE
    )
    assert len(features) == 1 and features.silent == 2 and features.not_finite == 1
    assert len(ClipFeatures.extract([], RATE)) == 0 == ClipFeatures.extract([], RATE).silent


def test_clips_are_not_kept_in_memory():
    references = []

    def clips():
        for hertz in (200.0, 300.0, 400.0):
            clip = tone(hertz)
            references.append(weakref.ref(clip))
            yield clip
            del clip
            assert sum(one() is not None for one in references) <= 1  # the current one

    assert len(ClipFeatures.extract(clips(), RATE)) == 3
