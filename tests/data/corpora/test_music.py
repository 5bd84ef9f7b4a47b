from functools import partial

import noise_files
import pytest
import torch

from audiodiff.audio.io import probe, read
from audiodiff.data.corpora import music, registry
from audiodiff.data.corpora.corpus import Corpus
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError

sound = partial(noise_files.sound, rate=44100)


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


def test_a_kit_with_invalid_xml(kits):
    (kits / "Kit v1/drumkit.xml").write_text("<drumkit_info>")
    with pytest.raises(UserError, match=r"drumkit\.xml: is not XML"):
        music.hydrogen(kits)


def test_sonic_pi_one_shots_and_loops(tmp_path):
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
    monkeypatch.setitem(registry.CORPORA, "kits", lambda _: Corpus(music.hydrogen(kits), "here", "CC0"))
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


def test_a_table_with_unknown_names_is_used_for_the_known_ones(tmp_path):
    sound(tmp_path / "songs/a.wav")
    (tmp_path / "songs/labels.csv").write_text("a.wav,x\nb.wav,y\nc.wav,y\n")
    with pytest.warns(UserWarning, match=r"labels\.csv: line 2 names 'b\.wav', which is no audio there \(2 such lines"):
        manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    assert [clip.label for clip in manifest.clips] == ["x"]


def test_an_invalid_table_of_labels(tmp_path):
    sound(tmp_path / "songs/a.wav")
    (tmp_path / "songs/labels.csv").write_text("a.wav\n")
    with pytest.raises(UserError, match=r"labels\.csv, line 1: has no label"):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    (tmp_path / "songs/labels.csv").write_text("a.wav,rock,999 bpm\n")
    with pytest.raises(UserError, match=r"labels\.csv, line 1: has a tempo outside 20 to 400 beats per minute"):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
