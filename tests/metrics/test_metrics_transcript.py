"""Words and their errors against answers that are known; the recognizer on speech whose text is known."""

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
def brute(said: tuple, heard: tuple) -> int:
    """Levenshtein's distance by its recursive definition."""
    if not said or not heard:
        return len(said) + len(heard)
    if said[0] == heard[0]:
        return brute(said[1:], heard[1:])
    return 1 + min(brute(said[1:], heard), brute(said, heard[1:]), brute(said[1:], heard[1:]))


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_errors_are_the_fewest(said, heard):
    assert transcript.errors(said, heard) == brute(tuple(said), tuple(heard))


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("Press eleven, please.", "press 11 please"),
        ("the eighteenth", "The 18th."),
        ("I'm afraid it's late", "I am afraid it is late"),
        ("the color [beep] of call-forwarding", "The color of call forwarding!"),
        ("um, one thousand two hundred", "1,200"),
    ],
)
def test_the_same_said_otherwise_is_no_error(written, heard):
    assert transcript.words(written) == transcript.words(heard) != []


def test_punctuation_alone_is_no_word():
    assert transcript.words("...") == transcript.words("[music]") == []


def hears(monkeypatch, heard: dict[int, str]) -> None:
    """The recognizer's answer by the length of what it hears."""
    monkeypatch.setattr(transcript, "transcript", lambda samples, _: heard[len(samples)])


def test_rate_counts_against_the_text(monkeypatch):
    hears(monkeypatch, {RATE: "press seven or hash now"})
    sound = np.full(RATE, 0.1, np.float32)
    # "7" is right, "or" and "now" are too many, "the" is missing before "hash".
    assert WER(sound, sound, RATE, "Press 7, the hash.") == pytest.approx(100 * 2 / 4)
    assert WER.weight(sound, RATE, "Press 7, the hash.") == 4


def test_without_a_text_the_recording_is_right(monkeypatch):
    hears(monkeypatch, {RATE: "Three little words."})
    sound = np.full(RATE, 0.1, np.float32)
    assert WER(sound, sound, RATE, "") == 0 and WER.weight(sound, RATE, "") == 3


def test_what_is_not_known_to_be_english_is_left_out():
    sound = np.full(RATE, 0.1, np.float32)
    assert math.isnan(WER(sound, sound, RATE)) and math.isnan(WER(sound, sound, RATE, None))
    assert WER.weight(sound, RATE, None) == 0


def test_no_words_is_nan_and_silence_is_all_wrong():
    sound = np.full(RATE, 0.1, np.float32)
    assert math.isnan(WER(sound, sound, RATE, "..."))
    assert WER(sound, np.zeros_like(sound), RATE, "three little words") == 100


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_speech_is_understood_without_a_network_and_noise_is_not(monkeypatch):
    from audiodiff.data.corpora.synthetic import _speak
    from audiodiff.metrics.rates import at_rate

    text = "Please leave your message after the tone, and press seven when you have finished."
    spoken = _speak(text, 1.0, 0)
    samples = at_rate(spoken.samples.numpy(), spoken.sample_rate, RATE)

    def offline(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", offline)
    loud = np.random.default_rng(0).standard_normal(len(samples)) * np.sqrt(np.mean(samples**2)) * 6
    assert WER(samples, samples, RATE, text) < 10
    assert WER(samples, np.clip(samples + loud, -1, 1).astype(np.float32), RATE, text) > 40
