from pathlib import Path

import numpy as np
import pytest
import torch

from audiodiff.data.captions import canonical_caption
from audiodiff.data.corpora import instruments
from audiodiff.data.corpora.corpus import Request
from audiodiff.data.corpora.general_midi import INSTRUMENTS, KITS, note_name
from audiodiff.data.corpora.instruments import SAMPLE_RATE, render, take
from audiodiff.data.corpora.registry import resolve
from audiodiff.errors import UserError

TAKES = [take(number) for number in range(600)]


def test_a_take_is_a_function_of_its_number():
    assert take(5) == TAKES[5] and take(5) != TAKES[6]
    few, more = instruments.takes(3), instruments.takes(5)
    assert list(more)[:3] == list(few) and len(set(more)) == 5
    assert resolve("instruments", 3).inputs != resolve("instruments", 5).inputs == resolve("instruments", 5).inputs


def test_captions_are_canonical_and_name_what_is_played():
    assert all(canonical_caption(one.caption.text) == one.caption.text for one in TAKES)
    notes = [one for one in TAKES if one.bank == 0 and one.group.split("/")[1] == "note"]
    for one in notes:
        ((_, _, key, velocity),) = one.notes
        words = one.caption.text.split()
        assert one.caption.text.endswith(f", {note_name(key)}")
        assert ("soft" in words) == (velocity == 42) and ("loud" in words) == (velocity == 120)
        assert (instrument := next(i for i in INSTRUMENTS if i.program == one.preset)).low <= key <= instrument.high
        assert instrument.name == one.label
    assert len(notes) > 200 and len({one.preset for one in notes}) > 50


def test_velocities_and_lengths_of_a_note_are_one_piece():
    groups: dict[str, set] = {}
    for one in [take(number) for number in range(3000)]:
        groups.setdefault(one.group, set()).add(tuple(sorted({key for _, _, key, _ in one.notes})))
    notes = {group: keys for group, keys in groups.items() if "/note/" in group}
    assert all(len(keys) == 1 for keys in notes.values())


def test_chords_are_those_of_their_names():
    for one in TAKES:
        name = one.caption.text.rpartition(", ")[2]
        if "/chord/" in one.group and name in ("C major", "A minor", "E augmented"):
            keys = [(key - one.notes[0][2]) % 12 for _, _, key, _ in one.notes]
            assert keys == {"C major": [0, 4, 7], "A minor": [0, 3, 7], "E augmented": [0, 4, 8]}[name]
            assert one.notes[0][2] % 12 == {"C": 0, "A": 9, "E": 4}[name[0]]


def test_drums_have_the_adjectives_of_their_kit_where_it_has_a_sound_of_its_own():
    drums = [one for one in [take(number) for number in range(2000)] if one.bank == 128]
    for one in drums:
        adjectives, _, keys = KITS[one.preset]
        assert one.preset == 0 or one.notes[0][2] in keys
        assert all(word in one.caption.text.split() for word in adjectives)
    assert {one.preset for one in drums} == set(KITS)


class Clicks:
    """A synthesizer whose notes sound as decaying tones, right louder than left; it records what it is asked for."""

    def __init__(self):
        self.calls, self.level = [], 0.0

    def sounds_off(self):
        self.level = 0.0

    def program_select(self, *arguments):
        self.calls.append(arguments)

    def noteon(self, channel, key, velocity):
        self.calls.append(("on", key))
        self.level = velocity / 127

    def noteoff(self, channel, key):
        self.calls.append(("off", key))

    def generate(self, samples):
        decay = self.level * np.exp(-np.arange(samples) / 800, dtype=np.float64)
        self.level = float(decay[-1]) if samples else self.level
        return np.stack([0.1 * decay, 0.3 * decay], 1).astype(np.float32).tobytes()


def test_rendering_plays_the_notes_in_order_and_cuts_the_tail(monkeypatch):
    synth = Clicks()
    monkeypatch.setattr(instruments, "load_font", lambda font: (synth, 3))
    one = next(one for one in TAKES if "/melody/" in one.group)
    audio = render(one, Path())
    assert synth.calls[0] == (0, 3, 0, one.preset, False)
    played = [key for kind, key in synth.calls[1:] if kind == "on"]
    assert played == [key for _, _, key, _ in one.notes]
    assert audio.samples.ndim == 1 and audio.sample_rate == SAMPLE_RATE
    assert float(audio.samples.abs().max()) == pytest.approx(0.5)
    assert one.notes[-1][0] < audio.seconds < one.notes[-1][1] + 1
    assert torch.equal(render(one, Path()).samples, audio.samples)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(instruments, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps tinysoundfont"):
        instruments.open_corpus(Request(clips=3))
    monkeypatch.setattr(instruments, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="--clips"):
        instruments.open_corpus(Request(clips=0))
