"""Tunes composed by rules and played by a band: melody, chords, bass and drums on the instruments of a soundfont.

Tempo, key, meter and style are drawn and then played, so that labels are exact: what a model that is conditioned on
them is asked for can be measured in what it generates. Clip i is a function of i alone, so that more clips leave the
others as they are. The soundfont is FluidR3 GM by Frank Wen (MIT).

A tune has sixteen bars: a phrase of four, the same again, a contrasting one, and the first once more (AABA). Chords
follow a cadence of the key. The melody takes notes of the chord on the beats, and moves by steps of the scale between
them. Drums mark the beats.
"""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.data.annotation import Annotation
from audiodiff.data.corpora import debian, instruments
from audiodiff.data.corpora.corpus import Corpus, Recording, Request, text_hash
from audiodiff.data.corpora.general_midi import pitch_class
from audiodiff.data.corpora.soundfont import Notes, play
from audiodiff.errors import UserError

NAME = "tunes"
DEFAULT_CLIPS = 240
SAMPLE_RATE = instruments.SAMPLE_RATE
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
TEMPI = (70, 160)  # beats per minute, inclusive
_STREAM = 0x74756E65  # of the random numbers of all clips
_DRUM_BANK = 128
_KICK, _SNARE, _HAT, _RIDE, _STICK = 36, 38, 42, 51, 37
_BARS = 16
_FORM = "AABA"
_PEAK = 0.7
# Degrees of the scale that chords are built on, one a bar.
_CADENCES = {
    "major": ((0, 5, 3, 4), (0, 3, 4, 0), (5, 3, 0, 4), (0, 4, 5, 3), (1, 4, 0, 0)),
    "minor": ((0, 5, 2, 6), (0, 3, 6, 0), (0, 6, 5, 6), (0, 3, 5, 6), (3, 6, 0, 0)),
}
_LEADS = (0, 4, 11, 12, 16, 21, 24, 27, 40, 56, 61, 65, 71, 73, 80, 81)  # General MIDI programs
_CHORDS = (0, 4, 16, 24, 25, 27, 48, 50, 89)
_BASSES = (32, 33, 34, 38)
_PAN = {"melody": 0.6, "chords": -0.6, "bass": 0.0, "drums": 0.1}  # -1 left to 1 right
_LEVELS = {"melody": 0.8, "chords": 0.45, "bass": 0.8, "drums": 0.9}  # relative peaks


@dataclass(frozen=True)
class Style:
    """What a band does in a bar. Positions are in beats from its start.

    Attributes:
        beats: of a bar.
        drums: key and positions.
        bass: positions and whether it plays the fifth of the chord instead of its root.
        chords: positions.
        rhythms: of the melody, positions of the notes of a bar; the last is that of a phrase's end.
    """

    beats: int
    drums: tuple[tuple[int, tuple[float, ...]], ...]
    bass: tuple[tuple[float, bool], ...]
    chords: tuple[float, ...]
    rhythms: tuple[tuple[float, ...], ...]


_EIGHTHS = (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5)
_FOUR = ((0, 1, 2, 3), (0, 1, 2, 2.5, 3), (0, 0.5, 1, 2, 3), (0, 1.5, 2, 3, 3.5), (0, 1, 1.5, 2), (0, 2))
STYLES = {
    "rock": Style(
        4,
        ((_KICK, (0, 2, 2.5)), (_SNARE, (1, 3)), (_HAT, _EIGHTHS)),
        tuple((place, False) for place in _EIGHTHS),
        (0, 2),
        _FOUR,
    ),
    "house": Style(
        4,
        ((_KICK, (0, 1, 2, 3)), (_SNARE, (1, 3)), (_HAT, (0.5, 1.5, 2.5, 3.5))),
        ((0.5, False), (1.5, False), (2.5, False), (3.5, True)),
        (0, 1, 2, 3),
        _FOUR,
    ),
    "march": Style(
        4,
        ((_KICK, (0, 2)), (_SNARE, (1, 3, 3.5))),
        ((0, False), (2, True)),
        (1, 3),
        _FOUR,
    ),
    "waltz": Style(
        3,
        ((_KICK, (0,)), (_STICK, (1, 2)), (_RIDE, (0, 1, 2))),
        ((0, False),),
        (1, 2),
        ((0, 1, 2), (0, 2), (0, 1, 1.5, 2), (0, 0.5, 1, 2), (0,)),
    ),
}


@dataclass(frozen=True)
class Tune:
    """A composed tune.

    Attributes:
        style: name, of `STYLES`.
        tonic: pitch class of the key.
        mode: "major" or "minor".
        tempo: beats per minute.
        programs: General MIDI program of each part but the drums.
        parts: notes by part, their times in beats.
    """

    style: str
    tonic: int
    mode: str
    tempo: int
    programs: dict[str, int]
    parts: dict[str, Notes]

    @property
    def key(self) -> str:
        """Its key, such as "F# minor", spelled as in file names (`data.annotation`)."""
        return f"{pitch_class(self.tonic).replace(' sharp', '#')} {self.mode}"


KEYS = tuple(f"{pitch_class(tonic).replace(' sharp', '#')} {mode}" for mode in SCALES for tonic in range(12))


def open_corpus(request: Request) -> Corpus:
    """`request.clips` tunes as a corpus.

    Raises:
        UserError: tinysoundfont is not installed, or the number of clips is none.
    """
    if find_spec("tinysoundfont") is None:
        raise UserError(NAME, "needs the package tinysoundfont", instruments.INSTALL)
    if request.clips < 1:
        raise UserError("--clips", f"is {request.clips}", "choose 1 or more")
    root = debian.fetch(instruments.PACKAGE, request.downloads)
    found = []
    for key, one in tunes(request.clips).items():
        label = Annotation((one.style, one.key)).label
        found.append(Recording(key, partial(render, one, root / instruments.FONT), label=label, tempo=float(one.tempo)))
    source = f"synthetic: composed by rules; {instruments.soundfont_source(root)}"
    license, copyright_file = instruments.LICENSE, instruments.copyright_file(root)
    return Corpus(found, source, license, copyright_file, synthetic=True, attribution=instruments.ATTRIBUTION)


def tunes(count: int) -> dict[str, Tune]:
    """The first `count` tunes, by keys that identify their content."""
    found = [compose(number) for number in range(count)]
    return {f"{number:05d}-{text_hash(repr(one))[:8]}": one for number, one in enumerate(found)}


def compose(number: int) -> Tune:
    """Compose tune `number`."""
    random = np.random.default_rng((_STREAM, number))
    style, mode = str(random.choice(list(STYLES))), str(random.choice(list(SCALES)))
    tonic, tempo = int(random.integers(12)), int(random.integers(TEMPI[0], TEMPI[1] + 1))
    programs = {
        part: int(random.choice(programs))
        for part, programs in (("melody", _LEADS), ("chords", _CHORDS), ("bass", _BASSES))
    }
    phrases = {letter: _phrase(random, STYLES[style], mode) for letter in sorted(set(_FORM))}
    parts: dict[str, Notes] = {part: [] for part in _PAN}
    for place, letter in enumerate(_FORM):
        for part, notes in _play_phrase(phrases[letter], STYLES[style], SCALES[mode], tonic).items():
            start = place * (_BARS // len(_FORM)) * STYLES[style].beats
            parts[part] += [(begin + start, end + start, key, velocity) for begin, end, key, velocity in notes]
    return Tune(style, tonic, mode, tempo, programs, parts)


_Phrase = list[tuple[int, list[tuple[float, int]]]]  # of each bar, the degree of its chord and (position, degree)s


def _phrase(random: np.random.Generator, style: Style, mode: str) -> _Phrase:
    """Chords and melody of four bars, in degrees of the scale; the rhythm of the first bar returns in the third."""
    cadence = _CADENCES[mode][int(random.integers(len(_CADENCES[mode])))]
    rhythms = [style.rhythms[int(random.integers(len(style.rhythms) - 1))] for _ in range(2)]
    degree, bars = int(random.choice((0, 2, 4, 7))), []
    for bar, chord in enumerate(cadence):
        rhythm = style.rhythms[-1] if bar == len(cadence) - 1 else rhythms[bar % 2]
        notes = []
        for position in rhythm:
            degree = int(np.clip(degree + random.integers(-2, 3), -2, 9))
            degree = _nearest_of_chord(degree, chord) if position == int(position) else degree
            notes.append((float(position), degree))
        bars.append((chord, notes))
    return bars


def _nearest_of_chord(degree: int, chord: int) -> int:
    """The degree that is nearest to this one, of those of the triad on `chord`."""
    return min((degree + step for step in (0, 1, -1, 2, -2)), key=lambda one: (one - chord) % 7 not in (0, 2, 4))


def _play_phrase(phrase: _Phrase, style: Style, scale: tuple[int, ...], tonic: int) -> dict[str, Notes]:
    """Notes by part, with times in beats."""
    parts: dict[str, Notes] = {part: [] for part in _PAN}
    for bar, (chord, melody) in enumerate(phrase):
        start = float(bar * style.beats)
        ends = [position for position, _ in melody[1:]] + [float(style.beats)]
        for (position, degree), end in zip(melody, ends, strict=True):
            velocity, pitch = 100 if position == 0 else 84, 60 + tonic + _semitones(degree, scale)
            parts["melody"].append((start + position, start + end - 0.05, pitch, velocity))
        for position in style.chords:
            keys = [48 + tonic + _semitones(chord + step, scale) for step in (0, 2, 4)]
            parts["chords"] += [(start + position, start + position + 0.9, key, 80) for key in keys]
        for position, is_fifth in style.bass:
            key = 36 + tonic + _semitones(chord + 4 * is_fifth, scale)
            parts["bass"].append((start + position, start + position + 0.45, key - 12 * (key > 50), 96))
        for key, positions in style.drums:
            accent = {_KICK: 110, _SNARE: 104}.get(key, 80)
            parts["drums"] += [(start + position, start + position + 0.2, key, accent) for position in positions]
    return parts


def _semitones(degree: int, scale: tuple[int, ...]) -> int:
    """Semitones above the tonic of a degree of the scale, of any octave."""
    return scale[degree % len(scale)] + 12 * (degree // len(scale))


def render(one: Tune, font: Path) -> Audio:
    """Play a tune in stereo; each part has its place and its peak."""
    synth, number = instruments.load_font(font)
    played = []
    for part, notes in one.parts.items():
        synth.sounds_off()
        synth.generate(SAMPLE_RATE // 10)  # what sounded before fades out
        bank = _DRUM_BANK if part == "drums" else 0
        synth.program_select(0, number, bank, one.programs.get(part, 0), bank == _DRUM_BANK)
        seconds = 60 / one.tempo
        mono = play(synth, [(b * seconds, e * seconds, key, v) for b, e, key, v in notes], SAMPLE_RATE).mean(1)
        angle = np.pi / 4 * (1 + _PAN[part])
        level = _LEVELS[part] / max(float(np.abs(mono).max()), 1e-9)
        played.append(level * np.stack([np.cos(angle) * mono, np.sin(angle) * mono]))
    mixed = np.zeros((2, max(stereo.shape[1] for stereo in played)), np.float32)
    for stereo in played:
        mixed[:, : stereo.shape[1]] += stereo
    return Audio(torch.from_numpy(mixed * np.float32(_PEAK / max(float(np.abs(mixed).max()), 1e-9))), SAMPLE_RATE)
