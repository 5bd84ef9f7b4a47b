"""The timbre embedding: what it depends on and what it ignores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.metrics.timbre import CEPSTRA, PARTS, SAMPLE_RATE, embedding


def stroke(hertz: float, decay: float = 10.0, seed: int = 0, rate: int = SAMPLE_RATE) -> np.ndarray:
    time = np.arange(rate) / rate
    wave = np.sin(2 * np.pi * hertz * time) + 0.1 * np.random.default_rng(seed).standard_normal(len(time))
    return (0.5 * wave * np.exp(-decay * time)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1.0), st.integers(0, 9))
def test_level_and_channels_do_not_matter(level, seed):
    wave = stroke(300, seed=seed)
    found = embedding(level * np.stack([wave, wave]), SAMPLE_RATE)
    assert found.shape == (2 * CEPSTRA + PARTS + 1,)
    np.testing.assert_allclose(found, embedding(wave, SAMPLE_RATE), atol=1e-2)


def test_similar_sounds_are_closer():
    low, again, high = (embedding(stroke(h, seed=s), SAMPLE_RATE) for h, s in ((200, 0), (200, 1), (3000, 2)))
    long = embedding(stroke(200, decay=1.0), SAMPLE_RATE)
    distance = np.linalg.norm(low - again)
    assert 3 * distance < np.linalg.norm(low - high) and 3 * distance < np.linalg.norm(low - long)


def test_the_envelope_follows_the_decay():
    parts = embedding(stroke(300, decay=30.0), SAMPLE_RATE)[2 * CEPSTRA : -1]
    assert (np.diff(parts) < 0)[:3].all() and parts[-1] == pytest.approx(-80, abs=15)


def test_the_sample_rate_matters_little():
    one, other = (embedding(stroke(300, rate=rate), rate) for rate in (SAMPLE_RATE, 44100))
    assert np.linalg.norm(one - other) < 0.3 * np.linalg.norm(one - embedding(stroke(3000), SAMPLE_RATE))


def test_very_short_clips_have_an_embedding():
    assert np.isfinite(embedding(stroke(300)[:10], SAMPLE_RATE)).all()


@pytest.mark.parametrize("clip", [np.zeros(100), np.zeros(0), np.array([0.1, np.nan])])
def test_empty_silent_and_nan_clips_are_refused(clip):
    with pytest.raises(ValueError, match="finite"):
        embedding(clip, SAMPLE_RATE)
