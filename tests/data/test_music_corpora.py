import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import probe, read
from audiodiff.data import corpora, music
from audiodiff.data.corpora import Corpus, Plan, prepare
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError


def sound(path, seconds=0.6, channels=1, seed=0, rate=44100):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels)), rate)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Kick Lite 1", "kick"),
        ("drum_bass_hard", "kick"),
        ("BassDrum", "kick"),
        ("bassdrum-4mics-br-stereo-soft4", "kick"),
        ("bass_woodsy_c", ""),
        ("Snare Rimshot (Pearl Free Floating Maple 14x3.5)", "snare"),
        ("Rim Click (Pearl Free Floating Maple 14x3.5)", "rim"),
        ("Pearl Side Stick", "rim"),
        ("Closed HH", "hat"),
        ('Hi-Hat Semiopen (Paiste Alpha Metal edge 14")', "hat"),
        ("drum_cymbal_pedal", "hat"),
        ("drum_cymbal_soft", "cymbal"),
        ('Crash/Ride Bell (Paiste Rude Crash/Ride 18")', "cymbal"),
        ("Pearl Tom Floor", "tom"),
        ("tomhi2", "tom"),
        ("Finger Snaps", "clap"),
        ("Djembe4 Tone", "hand drum"),
        ("Cowbell", "percussion"),
        ("guit_harmonics", ""),
        ("Zap 1", ""),
    ],
)
def test_labels_are_read_off_names(name, label):
    assert music.label_of(name) == label
    assert label in ("", *music.LABELS)


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
    (tmp_path / "songs/labels.csv").write_text("jazz/a.wav,swing\nc,ballad\n")
    manifest = prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
    assert {clip.id: clip.label for clip in manifest.clips} == {
        "music/jazz/a": "swing",
        "music/rock/b": "rock",
        "music/c": "ballad",
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a.wav,x\nb.wav,y\n", r"labels\.csv, line 2: names 'b\.wav', which is no audio there"),
        ("a.wav,x,y\n", r"labels\.csv, line 1: has 3 fields"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, lines, message):
    sound(tmp_path / "songs/a.wav")
    (tmp_path / "songs/labels.csv").write_text(lines)
    with pytest.raises(UserError, match=message):
        prepare([f"music:{tmp_path / 'songs'}"], tmp_path / "out")
