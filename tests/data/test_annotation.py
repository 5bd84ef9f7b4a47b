"""What names, tags and tables tell of a recording."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data import annotation
from audiodiff.data.annotation import Annotation


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
def test_the_kind_of_drum_is_read_off_names(name, label):
    assert annotation.drum_label(name) == label
    assert label in ("", *annotation.DRUMS)


@pytest.mark.parametrize(
    ("name", "labels", "tempo"),
    [
        ("groove_A minor_120bpm", ("A minor",), 120.0),
        ("Loop 92.5 BPM F#m", ("F# minor",), 92.5),
        ("BPM_140 Ebmaj pad", ("Eb major",), 140.0),
        ("c-minor-suite", ("C minor",), 0.0),
        ("Am I wrong", ("A minor",), 0.0),  # a name may mislead: a table tells better
        ("take 5 at 9bpm", (), 0.0),
        ("track 120", (), 0.0),
        ("album b major", ("B major",), 0.0),
        ("lamb minor issue", (), 0.0),
    ],
)
def test_key_and_tempo_are_read_off_names(name, labels, tempo):
    assert annotation.from_name(name) == Annotation(labels, tempo)


@given(st.text(max_size=40))
def test_any_name_can_be_read(name):
    found = annotation.from_name(name)
    assert found.tempo == 0 or 20 <= found.tempo <= 400
    assert len(found.labels) <= 1


def test_union_of_annotations_keeps_the_first_tempo():
    both = Annotation(("a", "b"), 0.0) | Annotation(("b", "c"), 90.0)
    assert both == Annotation(("a", "b", "c"), 90.0) and both.label == "a; b; c"
    assert (Annotation((), 80.0) | both).tempo == 80.0


def test_tags(tmp_path):
    path = tmp_path / "a.ogg"
    with soundfile.SoundFile(path, "w", 44100, 1, format="OGG") as file:
        file.genre = "Ambient; slow"
        file.write(np.zeros(44100))
    assert annotation.from_tags(path).labels == ("Ambient  slow",)
    vorbis = path.read_bytes().replace(b"genre=Ambient; slow", b"initialkey=F#m;;;;;"[:19])
    (tmp_path / "b.ogg").write_bytes(vorbis)  # its checksum is wrong: what cannot be read says nothing
    assert annotation.from_tags(tmp_path / "b.ogg").tempo == 0.0
    (tmp_path / "c.mp3").write_bytes(b"no audio")
    assert annotation.from_tags(tmp_path / "c.mp3") == annotation.from_tags(tmp_path / "none.mp3") == Annotation()


def test_key_and_tempo_of_tags(tmp_path):
    def frame(name: bytes, text: bytes) -> bytes:
        return name + (len(text) + 1).to_bytes(4, "big") + b"\0\0" + b"\3" + text

    frames = frame(b"TBPM", b"128") + frame(b"TKEY", b"Bbm") + frame(b"TCON", b"House")
    size = bytes((len(frames) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    (tmp_path / "a.mp3").write_bytes(b"ID3\3\0\0" + size + frames)
    assert annotation.from_tags(tmp_path / "a.mp3") == Annotation(("House", "Bb minor"), 128.0)
