"""Composed tunes: what their labels say is what is played."""

from pathlib import Path

import numpy as np
import pytest

from audiodiff.conditioners.labels import Labels
from audiodiff.data import annotation
from audiodiff.data.corpora import tunes
from audiodiff.data.corpora.corpus import Request
from audiodiff.data.corpora.registry import resolve
from audiodiff.data.corpora.tunes import KEYS, SAMPLE_RATE, SCALES, STYLES, TEMPI, Tune, compose, render
from audiodiff.errors import UserError
from audiodiff.metrics import tempo

TUNES = [compose(number) for number in range(200)]


def test_a_tune_is_a_function_of_its_number():
    assert compose(5) == TUNES[5] and compose(5) != TUNES[6]
    few, more = tunes.tunes(3), tunes.tunes(5)
    assert list(more)[:3] == list(few) and len(set(more)) == 5
    assert resolve("tunes", 3).inputs != resolve("tunes", 5).inputs == resolve("tunes", 5).inputs
    assert resolve("tunes").inputs["corpus"] == "tunes" != resolve("instruments").inputs["corpus"]


def test_all_styles_keys_and_the_whole_range_of_tempi_occur():
    many = [compose(number) for number in range(1000)]
    assert {one.style for one in many} == set(STYLES) and {one.key for one in many} == set(KEYS)
    assert (min(one.tempo for one in many), max(one.tempo for one in many)) == TEMPI
    assert all(annotation.from_name(f"tune_{key}").labels == (key,) for key in KEYS)
    Labels((*STYLES, *KEYS))


def test_pitches_are_of_the_key_and_the_bass_plays_roots_and_fifths():
    for one in TUNES:
        scale = {(one.tonic + step) % 12 for step in SCALES[one.mode]}
        for part in ("melody", "chords", "bass"):
            assert one.parts[part] and {key % 12 for _, _, key, _ in one.parts[part]} <= scale
        starts = {start: key for start, _, key, _ in one.parts["bass"]}
        chords: dict[float, set[int]] = {}
        for start, _, key, _ in one.parts["chords"]:
            chords.setdefault(start, set()).add(key % 12)
        assert all(starts[start] % 12 in keys for start, keys in chords.items() if start in starts)


def test_drums_mark_every_beat_and_melodies_take_notes_of_the_chord_on_first_beats():
    for one in TUNES:
        beats = STYLES[one.style].beats * 16
        assert {float(beat) for beat in range(beats)} <= {start for start, _, _, _ in one.parts["drums"]}
        assert max(end for part in one.parts.values() for _, end, _, _ in part) <= beats
        for start, end, _, velocity in (note for part in one.parts.values() for note in part):
            assert 0 <= start < end and 0 < velocity < 128
        first = [note for note in one.parts["melody"] if note[0] == 0]
        chord = {key % 12 for start, _, key, _ in one.parts["chords"] if start < STYLES[one.style].beats}
        assert len(first) == 1 and first[0][2] % 12 in chord


def test_a_phrase_returns():
    for one in TUNES:
        length = 4 * STYLES[one.style].beats
        phrases = [
            [(start - place * length, key) for start, _, key, _ in one.parts["melody"] if start // length == place]
            for place in range(4)
        ]
        assert phrases[0] == phrases[1] == phrases[3]
    assert any(one.parts["melody"][0][2] != one.parts["chords"][0][2] for one in TUNES)


class Band:
    """A synthesizer whose notes are decaying noise, and that records its programs."""

    def __init__(self):
        self.programs, self.level, self.random = [], 0.0, np.random.default_rng(0)

    def sounds_off(self):
        self.level = 0.0

    def program_select(self, *arguments):
        self.programs.append(arguments)

    def noteon(self, channel, key, velocity):
        self.level = max(self.level, velocity / 127)

    def noteoff(self, channel, key):
        pass

    def generate(self, samples):
        decay = self.level * np.exp(-np.arange(samples) / 2000)
        self.level = float(decay[-1]) if samples else self.level
        return np.stack([decay * self.random.standard_normal(samples)] * 2, 1).astype(np.float32).tobytes()


@pytest.fixture
def band(monkeypatch):
    synth = Band()
    monkeypatch.setattr(tunes.instruments, "load_font", lambda font: (synth, 3))
    return synth


@pytest.mark.parametrize("number", [0, 5, 11])
def test_a_tune_is_played_at_its_tempo_on_its_instruments(band, number):
    one = TUNES[number]
    audio = render(one, Path())
    beats = STYLES[one.style].beats * 16
    assert audio.samples.shape[0] == 2 and audio.sample_rate == SAMPLE_RATE
    assert beats * 60 / one.tempo - 1 < audio.seconds < beats * 60 / one.tempo + 2.1
    assert float(audio.samples.abs().max()) == pytest.approx(0.7, rel=1e-4)
    programs = {part: one.programs.get(part, 0) for part in one.parts}
    assert [call[3] for call in band.programs] == list(programs.values())
    assert [call[2] for call in band.programs] == [128 if part == "drums" else 0 for part in programs]
    clip = audio.samples[:, SAMPLE_RATE : 13 * SAMPLE_RATE].numpy()
    assert tempo.octave_error(tempo.estimate(clip, SAMPLE_RATE), one.tempo) is not None


def test_parts_have_their_places_in_stereo(band):
    one = TUNES[0]
    for part, louder in (("melody", 1), ("chords", 0)):
        alone = Tune(**vars(one) | {"parts": {part: one.parts[part]}})
        power = render(alone, Path()).samples.square().mean(1)
        assert power[louder] > 3 * power[1 - louder]


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(tunes, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps tinysoundfont"):
        tunes.open_corpus(Request(clips=3))
    monkeypatch.setattr(tunes, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="--clips"):
        tunes.open_corpus(Request(clips=0))
