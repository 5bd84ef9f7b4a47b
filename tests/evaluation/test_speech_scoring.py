"""Scores of speech, with a recognizer that is replaced by a transcript."""

import json
import math

import numpy as np
import pytest

from audiodiff.evaluation.speech_metrics import SPEECH_METRICS, values, weights
from audiodiff.evaluation.speech_scoring import SpeechScores, SpokenClip, centroid, is_english, score_speech
from audiodiff.evaluation.speech_sentences import HARD_SENTENCES, PARAGRAPH
from audiodiff.metrics import dnsmos, speaker, transcript
from audiodiff.metrics.prosody import timed

RATE = 24000


@pytest.fixture(autouse=True)
def _no_networks(monkeypatch):
    monkeypatch.setattr(transcript, "transcript", lambda samples, rate: "press seven now")
    monkeypatch.setattr(dnsmos, "dnsmos_overall", lambda reference, estimate, rate: 3.0)
    monkeypatch.setattr(speaker, "embedding", lambda samples, rate: np.eye(256, dtype=np.float32)[0])


def tone(seconds: float = 1.0, f0: float = 140.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 16))).astype(np.float32)


def clip(**options) -> SpokenClip:
    given = {"samples": tone(), "sample_rate": RATE, "text": "Press 7 right now", "language": "en-us"}
    return SpokenClip(**given | {"phonemes": tuple(timed("pɹˈɛs", [0.1, 0.1, 0.1, 0.1, 0.2, 0.1, 0.3]))} | options)


def test_scores_of_a_clip():
    found = score_speech(clip())
    assert found.words == ("press", "7", "right", "now") and found.errors.skipped == ("right",)
    assert found.wer == 25 and found.cer == pytest.approx(100 * 6 / 17) and found.characters == 17
    assert found.dnsmos == 3 and found.f0_median == pytest.approx(140, rel=0.02) and found.f0_spread < 0.2
    assert found.phoneme_ms == pytest.approx(150) and found.seconds == 1 and math.isfinite(found.fricatives)


def test_scores_survive_json():
    for one in (clip(), clip(language="ru", phonemes=()), clip(samples=np.zeros(RATE, np.float32))):
        found = score_speech(one)
        again = SpeechScores.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
        for name, value in vars(found).items():
            np.testing.assert_equal(getattr(again, name), value, err_msg=name)


def test_other_languages_have_no_word_errors():
    found = score_speech(clip(language="ru"))
    assert math.isnan(found.wer) and math.isnan(found.cer) and found.words == () and found.dnsmos == 3
    assert [is_english(code) for code in ("en", "en-gb", "ru", "")] == [True, True, False, False]


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.zeros(0), np.full(10, 0.1)])
def test_silence_is_scored_as_bad(samples):
    found = score_speech(clip(samples=samples.astype(np.float32)))
    assert found.wer == 100 and found.dnsmos == 1 and not found.embedding.any() and math.isnan(found.f0_median)


@pytest.mark.parametrize("samples", [np.zeros((1, RATE)), np.full(RATE, np.nan)])
def test_arrays_that_are_no_signal_are_refused(samples):
    with pytest.raises(ValueError, match="finite samples"):
        score_speech(clip(samples=samples))


def test_columns_and_weights():
    scores = [score_speech(clip()), score_speech(clip(text="Press 7 now, please, sir"))]
    target = np.eye(256, dtype=np.float32)[0]
    found = values(scores, [target, (target + np.eye(256)[1]) / np.sqrt(2)])
    assert found.keys() == SPEECH_METRICS.keys() == weights(scores).keys()
    np.testing.assert_allclose(found["speaker"], [1, np.sqrt(0.5)])
    np.testing.assert_allclose(weights(scores)["wer"], [4, 5])
    np.testing.assert_allclose(weights(scores)["dnsmos"], [1, 1])


def test_a_speaker_is_a_mean_embedding():
    np.testing.assert_allclose(np.linalg.norm(centroid([np.eye(256)[0], np.eye(256)[1]])), 1)
    assert not centroid([]).any()


def test_hard_sentences_are_forty_different_ones_and_a_paragraph_of_400_words():
    texts = [text for some in HARD_SENTENCES.values() for text in some]
    assert len(texts) == len(set(texts)) == 40 and PARAGRAPH in texts and len(PARAGRAPH.split()) >= 400
