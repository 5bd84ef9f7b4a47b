"""Word errors against a brute-force distance; the recognizer on speech with a known text."""

import importlib.util
import math
import socket
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.metrics import METRICS, transcript

WER, RATE = METRICS["wer"], 16000


@cache
def brute(a: tuple, b: tuple) -> int:
    """Levenshtein distance by its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return brute(a[1:], b[1:])
    return 1 + min(brute(a[1:], b), brute(a, b[1:]), brute(a[1:], b[1:]))


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_errors_are_the_levenshtein_distance(reference, hypothesis):
    assert transcript.errors(reference, hypothesis) == brute(tuple(reference), tuple(hypothesis))


@pytest.mark.parametrize(
    ("text", "transcribed"),
    [
        ("Press eleven, please.", "press 11 please"),
        ("the eighteenth", "The 18th."),
        ("I'm afraid it's late", "I am afraid it is late"),
        ("the color [beep] of call-forwarding", "The color of call forwarding!"),
        ("um, one thousand two hundred", "1,200"),
    ],
)
def test_spelling_variants_are_no_errors(text, transcribed):
    assert transcript.words(text) == transcript.words(transcribed) != []


def test_punctuation_has_no_words():
    assert transcript.words("...") == transcript.words("[music]") == []


def fake_recognizer(monkeypatch, transcripts: dict[int, str]) -> None:
    """Replace the recognizer by transcripts, keyed by number of samples."""
    monkeypatch.setattr(transcript, "transcript", lambda samples, _: transcripts[len(samples)])


def test_rate_counts_against_the_text(monkeypatch):
    fake_recognizer(monkeypatch, {RATE: "press seven or hash now"})
    sound = np.full(RATE, 0.1, np.float32)
    # "7" is right, "or" and "now" are too many, "the" is missing before "hash".
    assert WER(sound, sound, RATE, "Press 7, the hash.") == pytest.approx(100 * 2 / 4)
    assert WER.weight(sound, RATE, "Press 7, the hash.") == 4


def test_without_a_text_the_recording_has_no_errors(monkeypatch):
    fake_recognizer(monkeypatch, {RATE: "Three little words."})
    sound = np.full(RATE, 0.1, np.float32)
    assert WER(sound, sound, RATE, "") == 0 and WER.weight(sound, RATE, "") == 3


def test_other_languages_are_not_scored():
    sound = np.full(RATE, 0.1, np.float32)
    assert math.isnan(WER(sound, sound, RATE)) and math.isnan(WER(sound, sound, RATE, None))
    assert WER.weight(sound, RATE, None) == 0


def test_no_words_score_nan_and_silence_100():
    sound = np.full(RATE, 0.1, np.float32)
    assert math.isnan(WER(sound, sound, RATE, "..."))
    assert WER(sound, np.zeros_like(sound), RATE, "three little words") == 100


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_speech_is_recognized_offline_and_noise_is_not(monkeypatch):
    from audiodiff.data.corpora.hibari import speak
    from audiodiff.data.corpora.phonemes import phonemes_of
    from audiodiff.metrics.rates import at_rate

    text = "Please leave your message after the tone, and press seven when you have finished."
    spoken = speak(phonemes_of(text, "en-us"), 0)
    samples = at_rate(spoken.samples.numpy(), spoken.sample_rate, RATE)

    def offline(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", offline)
    loud = np.random.default_rng(0).standard_normal(len(samples)) * np.sqrt(np.mean(samples**2)) * 6
    assert WER(samples, samples, RATE, text) < 10
    assert WER(samples, np.clip(samples + loud, -1, 1).astype(np.float32), RATE, text) > 40


def test_character_errors_forgive_most_of_a_misspelled_word(monkeypatch):
    fake_recognizer(monkeypatch, {RATE: "the incurably serval keeper"})
    sound, text = np.full(RATE, 0.1, np.float32), "The incurably servile keeper."
    assert WER(sound, sound, RATE, text) == pytest.approx(25)
    assert METRICS["cer"](sound, sound, RATE, text) == pytest.approx(100 * 2 / 28)
    assert METRICS["cer"].weight(sound, RATE, text) == 28
    assert METRICS["cer"](sound, np.zeros_like(sound), RATE, text) == 100
    assert math.isnan(METRICS["cer"](sound, sound, RATE))
