import importlib.util
import shutil

import pytest

from audiodiff.data.audit import Audit
from audiodiff.data.corpora import hibari, manner, sentences
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_hibari_is_marked_synthetic_everywhere_and_reproducible(tmp_path):
    manifest = prepare(["hibari"], tmp_path / "a", clips=3)
    assert {clip.text for clip in manifest.clips} == set(sentences.packaged()[:3])
    for clip in manifest.clips:
        assert clip.synthetic
        assert clip.speaker == "hibari/heart" and clip.piece.startswith("text/")
        assert clip.language == "en-us" and len(clip.durations) == len(clip.pitch) == len(clip.phonemes) + 2
        assert sum(clip.durations) == pytest.approx(clip.seconds, abs=1e-4)
        assert sum(pitch > 120 for pitch in clip.pitch) > 0.3 * len(clip.pitch) and max(clip.pitch) < 400
        assert clip.license == "Apache-2.0 (the model's; synthetic speech)"
        assert "synthetic" in clip.source
        assert 1 < clip.seconds < 15
    assert "SYNTHETIC" in str(Audit.load(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a/hibari")
    assert prepare(["hibari"], tmp_path / "a", clips=3) == manifest
    kept = times(tmp_path / "a/hibari")
    more = prepare(["hibari"], tmp_path / "a", clips=4)
    assert {clip.id for clip in more.clips} > {clip.id for clip in manifest.clips}
    assert {path: when for path, when in times(tmp_path / "a/hibari").items() if path.suffix == ".flac"}.items() >= {
        path: when for path, when in kept.items() if path.suffix == ".flac"
    }.items()


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_an_interrupted_preparation_goes_on_where_it_stopped(tmp_path, monkeypatch):
    whole = prepare(["hibari"], tmp_path / "whole", clips=3)
    speak, spoken = hibari.speak, []

    def interrupted(phonemes, seed):
        if len(spoken) == 2:
            raise KeyboardInterrupt
        spoken.append(phonemes)
        return speak(phonemes, seed)

    monkeypatch.setattr(hibari, "speak", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(["hibari"], tmp_path / "cut", clips=3)
    journal = tmp_path / "cut/hibari/durations.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])  # the second line was cut off
    again = []
    monkeypatch.setattr(hibari, "speak", lambda phonemes, seed: again.append(phonemes) or speak(phonemes, seed))
    assert prepare(["hibari"], tmp_path / "cut", clips=3).clips == whole.clips
    assert len(again) == 2 and spoken[0] not in again and Manifest.load(tmp_path / "cut").clips == whole.clips


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_shifted_sentences_state_their_pitch_and_are_of_the_same_speaker(tmp_path):
    manifest = prepare(["hibari:shifted"], tmp_path, clips=2)
    plain = {clip.text: clip for clip in prepare(["hibari"], tmp_path / "plain", clips=2).clips}
    for clip in manifest.clips:
        factor = 2 ** (manner.shifted(clip.text).semitones / 12)
        assert clip.pitch == pytest.approx([one * factor for one in plain[clip.text].pitch], rel=0.01, abs=0.2)
        assert clip.speaker == "hibari/heart" and clip.piece == plain[clip.text].piece
        assert clip.id.startswith("hibari-shifted/") and clip.durations == plain[clip.text].durations
    (tmp_path / "hibari-shifted/corpus.json").unlink()  # prepared again, from the files and the journal
    assert prepare(["hibari:shifted"], tmp_path, clips=2) == manifest
    both = prepare(["hibari"], tmp_path, clips=2)
    assert len(both) == 4 and {clip.speaker for clip in both.clips} == {"hibari/heart"}


def test_invalid_manners_are_refused(tmp_path):
    with pytest.raises(UserError, match="hibari:sung"):
        prepare(["hibari:sung"], tmp_path)


def test_invalid_counts_are_refused(tmp_path):
    for clips in (0, -1):
        with pytest.raises(UserError, match="--clips"):
            hibari.texts(clips, tmp_path)
