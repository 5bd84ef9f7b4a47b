"""The bench of voices that are adapted: what is trained on, what is spoken, and the table."""

from dataclasses import replace

import numpy as np
import pytest
import voice_adapters
from speaking import write_recordings

from audiodiff.data.manifest import Manifest
from audiodiff.evaluation.speech_scoring import SpeechScores
from audiodiff.metrics.word_alignment import WordErrors


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """Six recordings of a low and of a high voice each, the first three for training."""
    found = write_recordings(tmp_path_factory.mktemp("recordings"))
    clips = [
        replace(
            clip,
            split="train" if int(clip.id[-1]) < 3 else "test",
            durations=(clip.seconds / (len(clip.phonemes) + 2),) * (len(clip.phonemes) + 2),
            text="a sentence of words" if int(clip.id[-1]) % 2 else "too short",
        )
        for clip in found.clips
    ]
    found = Manifest(tuple(clips), found.root)
    found.save()
    return found


def test_some_seconds_of_a_speaker_are_trained_on_and_nothing_of_others(manifest, tmp_path):
    whole = voice_adapters.subset(manifest.root, "high", tmp_path / "all", 1000)
    assert {clip.speaker for clip in whole.clips} == {"high"} and len(whole.with_splits("train").clips) == 3
    shortest = min(clip.seconds for clip in whole.with_splits("train").clips)
    found = voice_adapters.subset(manifest.root, "high", tmp_path / "deep" / "few", shortest)
    (clip,) = found.with_splits("train").clips
    (original,) = (one for one in manifest.clips if one.id == clip.id)
    assert found.path(clip).samefile(manifest.path(original)) and len(found.with_splits("test").clips) == 3


def test_held_out_sentences_are_spoken(manifest):
    clips = voice_adapters.sentences(manifest, 9)
    assert clips and all(clip.split == "test" and len(clip.text.split()) >= 4 for clip in clips)
    assert voice_adapters.sentences(manifest, 1) == clips[:1]


def test_errors_are_shares_of_all_words():
    pair = [_scores(100.0, ("a",)), _scores(0.0, ("a", "b", "c"))]
    found = voice_adapters.figures(pair, [np.eye(256)[0]] * 2)
    assert found == {"wer": 25.0, "dnsmos": 3.0, "speaker": 1.0}


def test_what_was_not_measured_is_left_empty():
    lines = voice_adapters.table({"recordings": {"wer": 1.0}, "LoRA": {"wer": 2.0, "steps": 7}}).splitlines()
    assert lines[2].startswith("| recordings | 1.0 % |  |") and "| 7 |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def _scores(wer: float, words: tuple[str, ...]) -> SpeechScores:
    numbers = (wer, wer, 3.0, 100.0, 1.0, 80.0, -5.0, 1.0)
    return SpeechScores(" ".join(words), words, 1, WordErrors(), *numbers, np.eye(256)[0])
