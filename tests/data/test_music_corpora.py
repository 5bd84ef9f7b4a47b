import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import probe, read
from audiodiff.data import corpora, music, recordings
from audiodiff.data.audit import Audit
from audiodiff.data.corpora import Corpus, Plan, default_folder, prepare
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError


def sound(path, seconds=0.6, channels=1, seed=0, rate=44100):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels)), rate)


DRUMKIT = """<drumkit_info xmlns="http://www.hydrogen-music.org/drumkit"><instrumentList>
<instrument><id>0</id><name>Deep one</name><layer><filename>BD_1.wav</filename></layer>
<layer><filename>BD_2.wav</filename></layer></instrument>
<instrument><id>1</id><name>Snare</name><layer><filename>x.wav</filename></layer></instrument>
<instrument><id>2</id><name></name></instrument></instrumentList></drumkit_info>"""


@pytest.fixture
def kits(tmp_path):
    for number, name in enumerate(("BD_1.wav", "BD_2.wav", "x.wav", "unused.wav")):
        sound(tmp_path / "kits/Kit v1" / name, 0.05, channels=1 + number % 2, seed=number)
    (tmp_path / "kits/Kit v1/drumkit.xml").write_text(DRUMKIT)
    return tmp_path / "kits"


def test_strokes_of_one_instrument_are_one_piece(kits):
    found = {one.key: (one.label, one.piece, one.speaker) for one in music.hydrogen(kits)}
    assert found == {
        "Kit v1/BD_1": ("kick", "Kit v1/Deep one", "Kit v1"),
        "Kit v1/BD_2": ("kick", "Kit v1/Deep one", "Kit v1"),
        "Kit v1/x": ("snare", "Kit v1/Snare", "Kit v1"),
        "Kit v1/unused": ("", "Kit v1/unused", "Kit v1"),
    }


def test_a_kit_that_is_no_xml(kits):
    (kits / "Kit v1/drumkit.xml").write_text("<drumkit_info>")
    with pytest.raises(UserError, match=r"drumkit\.xml: is no XML"):
        music.hydrogen(kits)


def test_sonic_pi_tells_strokes_from_loops(tmp_path):
    for name in ("drum_tom_hi_soft", "drum_tom_hi_hard", "loop_perc1", "tabla_ghe1", "tabla_ghe2"):
        sound(tmp_path / f"{name}.flac")
    found = {one.key: (one.label, one.piece) for one in music.sonic_pi(tmp_path)}
    assert found == {
        "drum_tom_hi_soft": ("tom", "drum_tom_hi"),
        "drum_tom_hi_hard": ("tom", "drum_tom_hi"),
        "loop_perc1": ("", "loop_perc"),
        "tabla_ghe1": ("hand drum", "tabla_ghe"),
        "tabla_ghe2": ("hand drum", "tabla_ghe"),
    }


def test_kits_are_prepared_with_their_channels_and_short_strokes(kits, tmp_path, monkeypatch):
    plan = Plan("kits", {"corpus": "kits"}, lambda _: Corpus(music.hydrogen(kits), "here", "CC0"))
    monkeypatch.setattr(corpora, "plan", lambda *_: plan)
    manifest = prepare(["kits"], tmp_path / "out")
    found = {clip.id: clip for clip in Manifest.load(tmp_path / "out").clips}
    assert set(found) == {"kits/Kit v1/BD_1", "kits/Kit v1/BD_2", "kits/Kit v1/x"}  # what has no label is too short
    assert [clip.channels for clip in found.values()] == [1, 2, 1]
    assert found["kits/Kit v1/BD_1"].piece == found["kits/Kit v1/BD_2"].piece == "kits/Kit v1/Deep one"
    for clip in manifest.clips:
        source = kits / f"{clip.id.removeprefix('kits/')}.wav"
        assert probe(manifest.path(clip)).channels == clip.channels
        expected = read(source, channels=clip.channels).samples
        assert torch.equal(read(manifest.path(clip), channels=clip.channels).samples, expected)


def test_a_folder_of_music(tmp_path):
    sound(tmp_path / "songs/jazz/a.wav", channels=2, seed=1)
    sound(tmp_path / "songs/rock/b.wav", seed=2)
    sound(tmp_path / "songs/c.wav", channels=2, seed=3)
    manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    found = {clip.id: (clip.label, clip.channels) for clip in manifest.clips}
    assert found == {"music/jazz/a": ("jazz", 2), "music/rock/b": ("rock", 1), "music/c": ("", 2)}
    (tmp_path / "songs/labels.csv").write_text("jazz/a.wav,swing,A minor,120 bpm\nc,ballad\n")
    manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    assert {clip.id: (clip.labels, clip.tempo) for clip in manifest.clips} == {
        "music/jazz/a": (("swing", "A minor"), 120.0),
        "music/rock/b": (("rock",), 0.0),
        "music/c": (("ballad",), 0.0),
    }


def test_a_table_that_names_strangers_is_used_where_it_fits(tmp_path):
    sound(tmp_path / "songs/a.wav")
    (tmp_path / "songs/labels.csv").write_text("a.wav,x\nb.wav,y\nc.wav,y\n")
    with pytest.warns(UserWarning, match=r"labels\.csv: line 2 names 'b\.wav', which is no audio there \(2 such lines"):
        manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    assert [clip.label for clip in manifest.clips] == ["x"]


def test_a_table_that_is_none(tmp_path):
    sound(tmp_path / "songs/a.wav")
    (tmp_path / "songs/labels.csv").write_text("a.wav\n")
    with pytest.raises(UserError, match=r"labels\.csv, line 1: has no label"):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    (tmp_path / "songs/labels.csv").write_text("a.wav,rock,999 bpm\n")
    with pytest.raises(UserError, match=r"labels\.csv, line 1: has a tempo outside 20 to 400 beats a minute"):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")


def test_hours_are_prepared_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "LONGEST_SECONDS", 1.0)
    sound(tmp_path / "songs/long.wav", seconds=2.7, channels=2)
    sound(tmp_path / "songs/short.wav", seconds=0.9)
    manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    assert [clip.id for clip in manifest.clips] == [*(f"music/long/part{k:03d}" for k in range(3)), "music/short"]
    assert len({clip.split for clip in manifest.clips[:3]}) == 1  # one piece, one side
    whole = read(tmp_path / "songs/long.wav", channels=2).samples
    parts = [read(manifest.path(clip), channels=2).samples for clip in manifest.clips[:3]]
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-4)


def test_of_files_that_are_read_part_by_part_one_is_open(tmp_path, monkeypatch):
    """A resumed preparation may never come to the last part of a file."""
    monkeypatch.setattr(recordings, "LONGEST_SECONDS", 1.0)
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / name, seconds=2.7)
    parts, opened = music.folder(tmp_path), []

    class Followed(recordings.AudioFile):
        def __init__(self, path):
            super().__init__(path)
            opened.append(path.name)

        def close(self):
            super().close()
            opened.remove(self.path.name)

    monkeypatch.setattr(recordings, "AudioFile", Followed)
    for part, there in ((0, ["a.wav"]), (3, ["b.wav"]), (5, []), (1, ["a.wav"])):
        parts[part].read()
        assert opened == there
    monkeypatch.setattr(music, "read", None)
    with pytest.raises(TypeError):
        parts[2].read()
    assert opened == []


def test_what_cannot_be_taken_is_named_and_the_rest_goes_on(tmp_path):
    """A file that is no audio, a link to nothing, and a table that is somebody else's; names that are no UTF-8 are."""
    songs = tmp_path / "songs"
    sound(songs / "a.wav")
    for number, name in enumerate((b"na\xefve.wav", b"na\xeeve.wav", b"na\xedve.wav"), 1):
        sound(songs / "new.wav", seed=number)
        (songs / "new.wav").rename(songs / os.fsdecode(name))
    (songs / "b.m4a").write_bytes(b"something")
    (songs / "c.flac").symlink_to(songs / "gone.flac")
    (songs / "metadata.csv").write_text("no bar in here\n")
    for kind, label in (("music", "music"), ("folder", "songs")):
        if kind == "folder":
            (songs / "metadata.csv").unlink()
        lines = []
        manifest = prepare([f"{kind}:{songs}"], tmp_path / kind, report=lines.append)
        ids = [clip.id for clip in manifest.clips]
        assert (
            len(set(ids)) == 4
            and ids[0] == f"{label}/a"
            and all(id.startswith(f"{label}/na?ve_wav-") for id in ids[1:])
        )
        assert len({clip.content for clip in manifest.clips}) == 4
        found = Audit.load(tmp_path / kind).findings
        assert [name for name, _ in found["unreadable"]] == [f"{label}/b"]
        assert found["left out"] == [[f"{label}/c", "is a link to nothing"]]
        assert [error.subject for error in lines] == [f"{label}/b", f"{label}/c"]


def test_of_a_folder_of_which_nothing_can_be_read_the_first_is_named(tmp_path):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs/b.m4a").write_bytes(b"something")
    with pytest.raises(UserError, match=r"none of its 1 recordings can be used; the first: is not readable audio"):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")


def test_hours_of_a_folder_are_parts_unless_their_text_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "LONGEST_SECONDS", 1.0)
    sound(tmp_path / "talks/told.wav", seconds=1.5)
    sound(tmp_path / "talks/untold.wav", seconds=1.5)
    (tmp_path / "talks/told.txt").write_text("what is said")
    manifest = prepare([f"folder:{tmp_path / 'talks'}"], tmp_path / "out")
    names = ["talks/told", "talks/untold/part000", "talks/untold/part001"]
    assert [clip.id for clip in manifest.clips] == names and {clip.channels for clip in manifest.clips} == {1}


def test_an_interrupted_preparation_goes_on_in_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, place = tmp_path / "songs", default_folder(tmp_path / "songs")
    for number in range(3):
        sound(root / f"{number}.wav", seed=number)

    def interrupted(path, audio):
        assert default_folder(root) == place  # as another process finds it
        real_write(path, audio)
        if len(list(place.rglob("*.flac"))) == 2:
            raise KeyboardInterrupt

    real_write = corpora.write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(corpora, "write", interrupted)
        prepare([f"music:{root}"], place)
    assert default_folder(root) == place and default_folder(tmp_path / "elsewhere/songs") != place
    assert len(prepare([f"music:{root}"], place)) == 3


def test_two_folders_of_one_name_are_prepared_in_two_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = tmp_path / "x/songs", tmp_path / "y/songs"
    for root in (first, second):
        sound(root / "a.wav")
    assert default_folder(first) == default_folder(second) == Path("data/songs")
    prepare([f"music:{first}"], default_folder(first))
    assert default_folder(first) == Path("data/songs") != default_folder(second)
    assert default_folder(second).parent == Path("data") and default_folder(second) == default_folder(second)
    prepare([f"music:{second}"], default_folder(second))
    prepare([f"folder:{tmp_path / 'x'}"], Path("data/songs"))  # not of this folder alone any more
    assert default_folder(first) not in (Path("data/songs"), default_folder(second))
    sound(tmp_path / "speech/a.wav")
    prepare([f"folder:{tmp_path / 'speech'}"], Path("data/speech"))  # the same folder, as speech
    assert default_folder(tmp_path / "speech") != Path("data/speech")
    (tmp_path / "data/other").mkdir()
    (tmp_path / "data/other/mine").touch()
    assert default_folder(tmp_path / "z/other") != Path("data/other")
