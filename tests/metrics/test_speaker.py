"""Speaker similarity: the network against its own package, and the properties of the metric."""

import importlib.util
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from audiodiff import extras
from audiodiff.errors import UserError
from audiodiff.metrics import METRICS, require_all, speaker

RATE = speaker.SAMPLE_RATE


def voice(f0: float, formant: float, seconds: float = 3.0, level: float = 0.2) -> np.ndarray:
    """Gliding harmonics around a formant."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(f0 * (1 + 0.1 * np.sin(3 * time))) / RATE
    harmonics = np.arange(1, int(7000 / f0 / 1.1))
    strength = np.exp(-(((harmonics * f0 - formant) / 900) ** 2)) + 0.3 / harmonics
    tone = (strength[:, None] * np.sin(harmonics[:, None] * phase)).sum(0)
    return (level * tone / np.abs(tone).max()).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def weights():
    if importlib.util.find_spec("resemblyzer") is None:
        pytest.skip("Resemblyzer is not installed")


@pytest.mark.slow
def test_the_embedding_of_one_span_equals_resemblyzers():
    resemblyzer = pytest.importorskip("resemblyzer", exc_type=ImportError)
    samples = voice(140, 900, seconds=1.595)
    theirs = resemblyzer.VoiceEncoder("cpu", verbose=False).embed_utterance(samples)
    np.testing.assert_allclose(speaker.embedding(samples, RATE), theirs, atol=1e-5)


@pytest.mark.parametrize(("frames", "spans"), [(4, 1), (160, 1), (161, 2), (240, 2), (241, 3), (400, 4)])
def test_spans_cover_the_clip_and_overlap_by_half(frames, spans):
    samples = np.random.default_rng(0).standard_normal((frames - 1) * speaker.HOP + 1).astype(np.float32)
    found = speaker.spans(samples)
    assert found.shape == (spans, speaker.SPAN, speaker.BANDS)
    assert all(torch.equal(one[80:], other[:80]) for one, other in pairwise(found))
    covered = (spans - 1) * 80 + (found[-1].sum(1) > 0).sum().item()
    assert covered == frames


def test_another_voice_is_less_similar_than_the_same_voice_in_noise():
    same, other = voice(120, 700), voice(260, 2600)
    noisy = same + 0.002 * np.random.default_rng(0).standard_normal(len(same)).astype(np.float32)
    metric = METRICS["speaker"]
    assert metric(same, same, RATE) == pytest.approx(1, abs=1e-5)
    assert metric(same, other, RATE) < metric(same, noisy, RATE) < 1


def test_level_does_not_matter_below_the_minimum():
    soft, softer = voice(120, 700, level=0.02), voice(120, 700, level=0.01)
    assert METRICS["speaker"](soft, softer, RATE) == pytest.approx(1, abs=1e-4)


def test_embeddings_have_unit_length_and_are_non_negative():
    found = speaker.embedding(voice(200, 1200), RATE)
    assert found.shape == (256,) and np.linalg.norm(found) == pytest.approx(1, abs=1e-5) and found.min() >= 0


def test_silent_estimates_score_zero_silent_or_short_references_nan():
    sound = voice(150, 800, 1.0)
    silence, metric = np.zeros_like(sound), METRICS["speaker"]
    assert metric(sound, silence, RATE) == 0
    assert math.isnan(metric(silence, sound, RATE)) and math.isnan(metric(sound[:3000], sound[:3000], RATE))


def test_other_sample_rates_are_resampled():
    from audiodiff.metrics.rates import at_rate

    one, other = voice(120, 700), voice(160, 1100)
    at_24k = METRICS["speaker"](at_rate(one, RATE, 24000), at_rate(other, RATE, 24000), 24000)
    assert at_24k == pytest.approx(METRICS["speaker"](one, other, RATE), abs=0.02)


def test_missing_weights_name_the_command(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"resemblyzer.*pip install"):
        require_all(["speaker"])
