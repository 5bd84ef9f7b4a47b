"""The bench of zero-shot voices: whose texts are spoken, from which clips, and the table."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import zero_shot
from speaking import RATE, Synthesizer, write_recordings

from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation.speech_scoring import SpeechScores
from audiodiff.metrics.word_alignment import WordErrors


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """Six recordings of a low and of a high voice each, the first three for training."""
    found = write_recordings(tmp_path_factory.mktemp("recordings"))
    split = [replace(clip, split="train" if int(clip.id[-1]) < 3 else "test") for clip in found.clips]
    found = Manifest(tuple(split), found.root)
    found.save()
    return found


def test_texts_are_those_of_held_out_clips_of_other_speakers(manifest):
    clips = zero_shot.choose(manifest, ("low",))
    assert {clip.speaker for clip in clips} == {"high"} and {clip.split for clip in clips} == {"test"}
    assert zero_shot.choose(manifest, ("low",), 2) == clips[:2]
    with pytest.raises(UserError, match="no held-out clip with a text by another speaker"):
        zero_shot.choose(manifest, ("low", "high"))


def test_a_shorter_reference_is_the_beginning_of_a_longer_one(manifest):
    short, long = (zero_shot.reference(manifest, "high", seconds) for seconds in (1.5, 3.0))
    assert len(short.samples) == 1.5 * RATE and len(long.samples) == 3 * RATE
    assert torch.equal(long.samples[: len(short.samples)], short.samples)
    assert zero_shot.reference(manifest, "high", 1000).seconds < 5  # all that there is
    with pytest.raises(UserError, match="nobody"):
        zero_shot.reference(manifest, "nobody", 1)


def test_the_table_compares_references_with_the_voice_s_own_speakers(manifest, monkeypatch, tmp_path):
    synthesizer = Synthesizer(speakers=("low",))
    monkeypatch.setattr(zero_shot.SpeechSynthesizer, "from_pretrained", lambda voice: synthesizer)
    say = synthesizer.say

    def imitate(text, speaker=None, reference=None, **options):
        return say(text, speaker if reference is None else "high", **options)

    monkeypatch.setattr(synthesizer, "say", imitate)

    def score(clip):
        low = np.abs(np.fft.rfft(clip.samples, RATE)).argmax() < 150
        embedding = np.eye(256, dtype=np.float32)[int(low)]
        return SpeechScores("", ("a",), 1, WordErrors(), 0.0, 0.0, 3.0, 110.0, 1.0, np.nan, np.nan, 1.0, embedding)

    monkeypatch.setattr(zero_shot, "score_speech", score)
    monkeypatch.setattr(sys, "argv", ["zero_shot.py", "--voice", "v", "--data", str(manifest.root), "--seconds", "2"])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--out", str(tmp_path / "zero_shot.md")])
    zero_shot.main()
    rows = [line.split(" | ") for line in (tmp_path / "zero_shot.md").read_text().splitlines() if line[:2] == "| "]
    similarity = {name.strip("| *"): cell.split()[0] for name, cell, *_ in rows[1:]}
    assert similarity == {"recordings": "1.000", "reference of 2 s": "1.000", "as low": "0.000"}
    assert [one["speaker"] for one in synthesizer.said] == ["high"] * 3 + ["low"] * 3
