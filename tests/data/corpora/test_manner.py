"""Manners of reading: all kinds are drawn, within their range, and the same for the same sentence."""

import importlib.util

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.corpora import hibari, sentences
from audiodiff.data.corpora.manner import MOST_SEMITONES, Reading, shifted, varied


@given(st.text(min_size=1, max_size=60))
def test_any_sentence_has_a_reading_within_range(sentence):
    reading = varied(sentence)
    assert reading == varied(sentence) and reading.text
    assert abs(reading.semitones) <= MOST_SEMITONES
    assert shifted(sentence) == shifted(sentence) and shifted(sentence).text == sentence


def test_two_thirds_have_another_pitch_and_a_third_are_short():
    found = [varied(f"Sentence number {number} of many.") for number in range(800)]
    shares = [
        sum(reading.semitones != 0 for reading in found) / 800,
        sum(len(reading.text.split()) == 1 for reading in found) / 800,
    ]
    assert shares == pytest.approx([2 / 3, 1 / 3], abs=0.06)


def test_shifted_readings_are_as_often_high_as_low():
    found = [shifted(f"Sentence number {number} of many.").semitones for number in range(800)]
    assert sum(found) / 800 == pytest.approx(0, abs=0.5)
    assert min(found) < -6 and max(found) > 6
    assert hibari.manners(["One."], hibari.SHIFTED) == [shifted("One.")]


def test_every_eighth_sentence_is_varied_but_none_of_the_packaged(monkeypatch):
    monkeypatch.setattr(sentences, "packaged", lambda: ["Packaged."] * 16)
    texts = [f"Sentence number {number} of many." for number in range(48)]
    plan = hibari.manners(texts)
    changed = [
        number for number, (text, reading) in enumerate(zip(texts, plan, strict=True)) if reading != Reading(text)
    ]
    assert changed == [16, 24, 32, 40]
    assert hibari.manners(texts[:30]) == plan[:30]  # more clips change none


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_hibari_reads_higher_and_lower():
    pytest.importorskip("pyworld")
    from audiodiff.data.prosody import symbol_pitch
    from audiodiff.metrics.prosody import pitch_statistics

    phonemes = "ðə kˈæt ɪz hˈiɹ."
    usual, high, low = (hibari.speak(phonemes, 0, *manner) for manner in ((), (6.0,), (-6.0,)))
    assert sum(usual.durations) == pytest.approx(usual.seconds, abs=1e-4) and usual.pitch == ()
    assert torch.equal(usual.samples, hibari.speak(phonemes, 0, 0.0).samples)
    for audio, factor in ((high, 2**0.5), (low, 2**-0.5)):
        assert audio.durations == usual.durations
        assert audio.pitch == pytest.approx([one * factor for one in symbol_pitch(usual, usual.durations)], abs=0.1)
        assert _median(pitch_statistics, audio) / _median(pitch_statistics, usual) == pytest.approx(factor, rel=0.05)


def _median(statistics, audio):
    return statistics(audio.samples.numpy(), audio.sample_rate).median
