from functools import partial

import noise_files
import pytest
import torch

from audiodiff.audio.io import read
from audiodiff.data.corpora import folder, music
from audiodiff.data.preparation import prepare

sound = partial(noise_files.sound, rate=44100)


def test_the_key_of_a_file_does_not_move_to_another_one(tmp_path):
    for name in ("a.mp3", "b.wav", "b_mp3.flac"):
        (tmp_path / name).touch()
    assert set(folder.audio_files(tmp_path)) == {"a", "b", "b_mp3"}
    for name in ("a.flac", "b.mp3"):
        (tmp_path / name).touch()
    found = folder.audio_files(tmp_path)
    assert {"a_mp3": tmp_path / "a.mp3", "a_flac": tmp_path / "a.flac"}.items() < found.items()
    assert not {"a", "b", "b_mp3"} & set(found) and sorted(found.values()) == sorted(tmp_path.iterdir())


def test_long_files_are_prepared_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LONGEST_SECONDS", 1.0)
    sound(tmp_path / "songs/long.wav", seconds=2.7, channels=2)
    sound(tmp_path / "songs/short.wav", seconds=0.9)
    manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    assert [clip.id for clip in manifest.clips] == [*(f"music/long/part{k:03d}" for k in range(3)), "music/short"]
    assert len({clip.split for clip in manifest.clips[:3]}) == 1  # one piece, one side
    whole = read(tmp_path / "songs/long.wav", channels=2).samples
    parts = [read(manifest.path(clip), channels=2).samples for clip in manifest.clips[:3]]
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-4)


def test_only_one_long_file_is_open_at_a_time(tmp_path, monkeypatch):
    """A resumed preparation may never come to the last part of a file."""
    monkeypatch.setattr(folder, "LONGEST_SECONDS", 1.0)
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / name, seconds=2.7)
    parts, opened = music.folder(tmp_path), []

    class Followed(folder.AudioFile):
        def __init__(self, path):
            super().__init__(path)
            opened.append(path.name)

        def close(self):
            super().close()
            opened.remove(self.path.name)

    monkeypatch.setattr(folder, "AudioFile", Followed)
    for part, there in ((0, ["a.wav"]), (3, ["b.wav"]), (5, []), (1, ["a.wav"])):
        parts[part].read()
        assert opened == there
    monkeypatch.setattr(music, "read", None)
    with pytest.raises(TypeError):
        parts[2].read()
    assert opened == []


def test_long_files_are_split_unless_they_have_a_text(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LONGEST_SECONDS", 1.0)
    sound(tmp_path / "talks/told.wav", seconds=1.5)
    sound(tmp_path / "talks/untold.wav", seconds=1.5)
    (tmp_path / "talks/told.txt").write_text("what is said")
    manifest = prepare([f"folder:{tmp_path / 'talks'}"], tmp_path / "out")
    names = ["talks/told", "talks/untold/part000", "talks/untold/part001"]
    assert [clip.id for clip in manifest.clips] == names and {clip.channels for clip in manifest.clips} == {1}
