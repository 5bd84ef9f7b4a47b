"""Folders of recordings that benches make: what is trained on, what is held out, and what earlier subjects were."""

from pathlib import Path

import clip_copies
import continual
import data_care
import numpy as np
import pytest
import soundfile

from audiodiff.data.manifest import Clip, Manifest

RATE, SAMPLES = 8000, 400


def folder_of(root: Path, splits: str, level: float) -> Manifest:
    """A recording of a constant for each letter: t is trained on, v and e are held out."""
    root.mkdir()
    clips = []
    for number, letter in enumerate(splits):
        soundfile.write(root / f"{number}.wav", np.full(SAMPLES, level + number / 100), RATE)
        split = {"t": "train", "v": "validation", "e": "test"}[letter]
        options = {"split": split, "content": f"c{number}", "piece": "one", "caption": "a loud click"}
        clips.append(Clip(f"{root.name}/{number}", f"{number}.wav", SAMPLES / RATE, RATE, **options))
    manifest = Manifest(tuple(clips), root)
    manifest.save()
    return manifest


def levels(manifest: Manifest) -> list[float]:
    return [round(float(soundfile.read(manifest.path(clip))[0][0]), 2) for clip in manifest.clips]


def test_copies_are_the_recordings_with_a_manifest_of_their_own(tmp_path):
    whole = folder_of(tmp_path / "a", "tve", 0.1)
    made = clip_copies.copy_clips(((whole.path(clip), clip) for clip in whole.clips[:2]), tmp_path / "b" / "c")
    (tmp_path / "a" / "0.wav").unlink()
    loaded = Manifest.load(tmp_path / "b" / "c")
    assert loaded.clips == made.clips == whole.clips[:2] and levels(loaded) == [0.1, 0.11]
    with pytest.raises(ValueError, match=r"two clips are called 1\.wav"):
        clip_copies.copy_clips([(whole.path(whole.clips[1]), whole.clips[1])] * 2, tmp_path / "d")


def test_earlier_subjects_are_joined_though_their_files_have_the_same_names(tmp_path):
    pair = [folder_of(tmp_path / name, "tv", level) for name, level in (("a", 0.1), ("b", 0.5))]
    made = continual.joined(pair, tmp_path / "joined")
    assert levels(made) == [0.1, 0.11, 0.5, 0.51] and [clip.split for clip in made.clips] == ["train", "validation"] * 2
    assert len({clip.id for clip in made.clips}) == len({clip.content for clip in made.clips}) == 4


def test_half_of_what_is_held_out_is_measured(tmp_path):
    whole = folder_of(tmp_path / "a", "tvetv", 0.1)
    made = Manifest.load(data_care.held_out_folder(whole, tmp_path / "apart"))
    assert levels(made) == [0.11, 0.12, 0.14]
    assert [clip.split for clip in made.clips] == ["validation", "train", "validation"]
    assert all(clip.id.startswith("held-out/") and not clip.piece for clip in made.clips)
