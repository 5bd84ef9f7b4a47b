"""The bench of text to speech: sentences, kept scores, the table, and the program espeak-ng where it is installed."""

import json
import shutil
import sys
from argparse import Namespace

import numpy as np
import pytest
import speech
import speech_report
from speech_systems import Espeak, Spoken, timed_chunks

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation.speech_scoring import SpeechScores
from audiodiff.metrics.prosody import Timed
from audiodiff.metrics.word_alignment import WordErrors

RATE = 24000


def scores(wer: float = 0.0, direction: int = 0, words: int = 4) -> SpeechScores:
    embedding = np.eye(256, dtype=np.float32)[direction]
    text = ("word",) * words
    return SpeechScores("", text, 20, WordErrors(), wer, wer / 4, 3.0, 150.0, 3.0, np.nan, np.nan, 2.0, embedding)


class System:
    name, label, megabytes, version = "fake", "Fake", 1.0, "1"

    def __init__(self):
        self.texts = []

    def speak(self, text):
        self.texts.append(text)
        return Spoken(np.full(RATE, 0.1), RATE, 0.25, 0.5)


@pytest.fixture
def manifest(tmp_path):
    def clip(number: int, split: str) -> Clip:
        text = f"The sentence number {number} of the {split} set."
        return Clip(f"x/{split}{number}", "a.flac", 1.0, RATE, text, split=split)

    clips = [clip(number, split) for split in ("train", "validation", "test") for number in range(5)]
    Manifest((*clips, Clip("x/again", "a.flac", 1.0, RATE, clips[-1].text, split="test")), tmp_path).save()
    return str(tmp_path)


def test_fewer_sentences_are_the_first_of_more_and_none_is_trained_on(manifest):
    texts = speech.sentences(manifest, 100)
    assert len(texts) == len(set(texts)) == 10 and not any("train" in text for text in texts)
    assert speech.sentences(manifest, 4) == texts[:4]


def test_without_held_out_texts_it_says_what_to_do(tmp_path):
    Manifest((Clip("x/a", "a.flac", 1.0, RATE, "A long enough sentence for it."),), tmp_path).save()
    with pytest.raises(UserError, match="no held-out clip with a text"):
        speech.sentences(str(tmp_path), 3)


def test_scores_are_kept_and_completed(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "score_speech", lambda clip: scores(float(len(clip.text))))
    system = System()
    assert [one.wer for one in speech.scores(system, ["a", "bb"], tmp_path)] == [1, 2] and system.texts == ["a", "bb"]
    assert [one.wer for one in speech.scores(system, ["a", "bb", "ccc"], tmp_path)] == [1, 2, 3]
    assert system.texts == ["a", "bb", "ccc"]
    system.version = "2"
    speech.scores(system, ["a"], tmp_path)
    assert system.texts[3:] == ["a"] and list(json.loads((tmp_path / "fake.json").read_text())["scores"]) == ["a"]


def test_speed_and_latency_are_medians_over_rounds():
    assert speech.speeds([System()], ["one", "a longer one", "the longest of all"], 3) == {"fake": (2.0, 0.25)}


def test_chunks_are_joined_with_the_times_of_their_phonemes():
    chunks = [(np.zeros(RATE), (Timed("a", 0.1, 0.4),)), (np.ones(RATE // 2), (Timed("b", 0.0, 0.5),))]
    found = timed_chunks(iter(chunks), RATE)
    assert len(found.samples) == 1.5 * RATE and found.phonemes == (Timed("a", 0.1, 0.4), Timed("b", 1.0, 1.5))
    assert 0 < found.first <= found.seconds


def test_systems_that_cannot_be_loaded_are_reported():
    def missing():
        raise UserError("espeak-ng", "is not on the path", "install it")

    systems, reasons = speech.load({"fake": System, "espeak": missing})
    assert list(systems) == ["fake"] and "not on the path" in reasons["espeak"]


def test_ours_have_a_row_for_each_number_of_steps(tmp_path):
    options = Namespace(voice="voice-en", speaker=None, steps=(2, 4), work=tmp_path, skip=["piper"])
    names = ["audiodiff_2", "audiodiff_4", "hibari", "kokoro", "espeak"]
    assert list(speech.factories(options)) == names
    options.voice = None
    assert list(speech.factories(options)) == names[2:]


def test_the_page():
    def row(label, wer, speed, direction=0):
        return speech_report.Row(label, "1", 10.0, [scores(wer, direction), scores(0.0, direction, 12)], speed, 0.1)

    rows = {"audiodiff_4": row("audiodiff, 4 steps", 16.0, 10.0), "kokoro": row("Kokoro", 8.0, 1.5)}
    rows["piper"] = row("piper", 8.0, 5.0, direction=1)
    text = speech_report.page(rows, {"espeak": "espeak-ng: is missing"}, {"cpu": "a processor"}, 2)
    table = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert table["audiodiff, 4 steps"][3].startswith("4.0 ±")  # per word: 4 of 16 have 16 %
    assert table["audiodiff, 4 steps"][6].startswith("1.000") and table["piper"][6].startswith("0.000")
    assert table["Kokoro"][9] == "–"  # no times of phonemes
    assert "6.7 times as fast as Kokoro (aim 5): yes; WER +2.0 points (aim +2): yes; 10.0 MB against 10.0: no" in text
    assert "- espeak is missing: espeak-ng: is missing" in text


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_speaks():
    system = Espeak()
    spoken = system.speak("Good morning.")
    assert 0.4 < len(spoken.samples) / spoken.rate < 3 and np.abs(spoken.samples).max() > 0.1
    assert 0 < spoken.first <= spoken.seconds and system.megabytes > 1 and system.version


def test_the_help_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speech.py", "--help"])
    with pytest.raises(SystemExit):
        speech.arguments()
    assert "--sentences" in capsys.readouterr().out
