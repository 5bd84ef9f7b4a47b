"""Notes, chords, arpeggios, melodies, drum hits and effects rendered from a General MIDI soundfont.

Captions are exact by construction: instrument, velocity, articulation, pitch, chord and key are drawn and then played.
Clip i is a function of i alone, so that more clips leave the others as they are. The soundfont is FluidR3 GM by Frank
Wen (MIT). A note of an instrument at all its velocities and lengths is one piece, on one side of the split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.data.captions import Caption, compose
from audiodiff.data.corpora import debian
from audiodiff.data.corpora.corpus import Corpus, Recording, Request, text_hash
from audiodiff.data.corpora.general_midi import (
    EFFECTS,
    INSTRUMENTS,
    KITS,
    PERCUSSION,
    Instrument,
    note_name,
    pitch_class,
)
from audiodiff.data.corpora.soundfont import Notes, play
from audiodiff.errors import UserError

NAME = "instruments"
SAMPLE_RATE = 44100
DEFAULT_CLIPS = 3000
LICENSE = "MIT (Frank Wen; soundfont FluidR3 GM)"
ATTRIBUTION = "Frank Wen (FluidR3 GM)"
PACKAGE = "fluid-soundfont-gm"
FONT = "usr/share/sounds/sf2/FluidR3_GM.sf2"
INSTALL = "pip install --no-deps tinysoundfont"
_STREAM = 0x6D696469  # of the random numbers of all clips
_DRUM_BANK = 128
_VELOCITIES = {"soft": 42, "": 84, "loud": 120}
_PEAKS = {42: 0.25, 84: 0.5, 120: 0.9}  # of full scale, by velocity: instruments of a font differ in level
_LENGTHS = {"short": 0.15, "": 0.8, "long": 2.2}  # seconds until a note is released
_SILENCE = 1e-3  # of the peak: -60 dB, where a tail ends
_CHORDS = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10),
}
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11, 12), "minor": (0, 2, 3, 5, 7, 8, 10, 12)}
_SHARES = {"note": 0.5, "chord": 0.15, "arpeggio": 0.1, "melody": 0.1, "drum": 0.13, "effect": 0.02}


@dataclass(frozen=True)
class Take:
    """What is played in a clip.

    Attributes:
        bank, preset: of the soundfont.
        notes: start and end in seconds, MIDI key, velocity.
        caption: of it.
        group: what all takes of one sound have in common.
        label: the instrument.
    """

    bank: int
    preset: int
    notes: Notes
    caption: Caption
    group: str
    label: str


def open_corpus(request: Request) -> Corpus:
    """`request.clips` takes as a corpus.

    Raises:
        UserError: tinysoundfont is not installed, or the number of clips is none.
    """
    if find_spec("tinysoundfont") is None:
        raise UserError(NAME, "needs the package tinysoundfont", INSTALL)
    if request.clips < 1:
        raise UserError("--clips", f"is {request.clips}", "choose 1 or more")
    root = debian.fetch(PACKAGE, request.downloads)
    source = f"synthetic: {soundfont_source(root)}"
    found = [
        Recording(key, partial(render, one, root / FONT), label=one.label, piece=one.group, caption=one.caption)
        for key, one in takes(request.clips).items()
    ]
    return Corpus(found, source, LICENSE, copyright_file(root), synthetic=True, attribution=ATTRIBUTION)


def soundfont_source(root: Path) -> str:
    """Package and version of the soundfont that was fetched to a folder."""
    return f"Debian {PACKAGE} {debian.version(root, PACKAGE)}, by tinysoundfont"


def copyright_file(root: Path) -> Path:
    """Its license file."""
    return root / "usr/share/doc" / PACKAGE / "copyright"


def takes(count: int) -> dict[str, Take]:
    """The first `count` takes, by keys that identify their content."""
    found = [take(number) for number in range(count)]
    return {f"{number:05d}-{text_hash(repr(one))[:8]}": one for number, one in enumerate(found)}


def take(number: int) -> Take:
    """What is played in clip `number`."""
    random = np.random.default_rng((_STREAM, number))
    return _KINDS[str(random.choice(list(_SHARES), p=list(_SHARES.values())))](random)


def _note(random: np.random.Generator) -> Take:
    instrument = _pick(random, INSTRUMENTS)
    key = int(random.integers(instrument.low, instrument.high + 1))
    strength, length = _manner(random, instrument.sustained)
    notes = [(0.0, _LENGTHS[length], key, _VELOCITIES[strength])]
    return _take(instrument, "note", notes, (strength, length), note_name(key))


def _chord(random: np.random.Generator) -> Take:
    instrument, root, kind = _harmony(random, tuple(_CHORDS))
    strength, length = _manner(random, instrument.sustained)
    notes = [(0.0, _LENGTHS[length], root + step, _VELOCITIES[strength]) for step in _CHORDS[kind]]
    return _take(instrument, "chord", notes, (strength, length), f"{pitch_class(root)} {kind}")


def _arpeggio(random: np.random.Generator) -> Take:
    instrument, root, kind = _harmony(random, ("major", "minor"))
    pace, seconds = _pick(random, (("slow", 0.4), ("", 0.22), ("fast", 0.11)))
    direction = _pick(random, ("rising", "falling"))
    steps = [*_CHORDS[kind], 12]
    keys = [root + step for step in (steps if direction == "rising" else reversed(steps))]
    notes = _sequence(keys, seconds, _VELOCITIES[""])
    return _take(instrument, "arpeggio", notes, (pace, direction), f"{pitch_class(root)} {kind}")


def _melody(random: np.random.Generator) -> Take:
    instrument, root, kind = _harmony(random, tuple(_SCALES), needs_chords=False)
    pace, seconds = _pick(random, (("slow", 0.5), ("", 0.28), ("fast", 0.14)))
    scale = _SCALES[kind]
    place, keys = int(random.integers(len(scale))), []
    for _ in range(7):  # steps and small leaps, which end on the root
        keys.append(root + scale[place])
        place = int(np.clip(place + random.integers(-2, 3), 0, len(scale) - 1))
    notes = _sequence([*keys, root], seconds, _VELOCITIES[""])
    return _take(instrument, "melody", notes, (pace,), f"in {pitch_class(root)} {kind}")


def _drum(random: np.random.Generator) -> Take:
    kit, key = _pick(random, tuple(KITS)), _pick(random, tuple(PERCUSSION))
    strength = _pick(random, tuple(_VELOCITIES))
    kind, _, noun = PERCUSSION[key].rpartition(", ")
    kit = kit if key in KITS[kit][2] else 0
    adjectives, detail, keys = KITS[kit]
    is_kit = key in keys
    words = [word for word in (strength, *(adjectives if is_kit else ()), kind) if word]
    caption = compose([noun], words, [detail] if is_kit else [])
    notes = [(0.0, 0.3, key, _VELOCITIES[strength])]
    return Take(_DRUM_BANK, kit, notes, caption, f"drum/{kit}/{key}", noun)


def _effect(random: np.random.Generator) -> Take:
    program = _pick(random, tuple(EFFECTS))
    key, length = int(random.integers(54, 67)), _pick(random, ("", "long"))
    notes = [(0.0, _LENGTHS[length], key, _VELOCITIES[""])]
    name = EFFECTS[program]
    return Take(0, program, notes, compose([name], [length] if length else []), f"effect/{program}/{key}", name)


_KINDS: dict[str, Callable[[np.random.Generator], Take]] = {
    "note": _note,
    "chord": _chord,
    "arpeggio": _arpeggio,
    "melody": _melody,
    "drum": _drum,
    "effect": _effect,
}


def _pick(random: np.random.Generator, choices):
    return choices[int(random.integers(len(choices)))]


def _manner(random: np.random.Generator, sustained: bool) -> tuple[str, str]:
    """Strength and length of a note: only instruments that sustain notes play long ones."""
    return _pick(random, tuple(_VELOCITIES)), _pick(random, tuple(_LENGTHS) if sustained else ("short", ""))


def _harmony(
    random: np.random.Generator, kinds: tuple[str, ...], needs_chords: bool = True
) -> tuple[Instrument, int, str]:
    """An instrument, a root in the lower part of its range, and a kind of chord or scale."""
    instrument = _pick(random, [one for one in INSTRUMENTS if one.chords or not needs_chords])
    highest = max(instrument.low + 1, min(instrument.high - 12, instrument.low + 24))
    return instrument, int(random.integers(instrument.low, highest)), _pick(random, kinds)


def _sequence(keys: list[int], seconds: float, velocity: int) -> Notes:
    return [(place * seconds, (place + 0.95) * seconds, key, velocity) for place, key in enumerate(keys)]


def _take(instrument: Instrument, kind: str, notes: Notes, manner: tuple[str, ...], detail: str) -> Take:
    adjectives = [word for word in manner if word]
    caption = compose([*instrument.nouns, kind], [*adjectives, *instrument.adjectives], [detail])
    group = f"{instrument.program}/{kind}/{detail}"
    return Take(0, instrument.program, notes, caption, group, instrument.name)


def render(one: Take, font: Path) -> Audio:
    """Play a take: mono, with a peak that its velocity sets, cut where its tail is 60 dB below it."""
    synth, number = load_font(font)
    synth.sounds_off()
    synth.generate(SAMPLE_RATE // 10)  # what sounded before fades out
    synth.program_select(0, number, one.bank, one.preset, one.bank == _DRUM_BANK)
    samples = play(synth, one.notes, SAMPLE_RATE).mean(1)
    peak = float(np.abs(samples).max())
    audible = np.flatnonzero(np.abs(samples) > _SILENCE * peak)
    samples = samples[: int(audible[-1]) + 1] if len(audible) else samples
    return Audio(torch.from_numpy(samples * np.float32(_PEAKS[one.notes[0][3]] / max(peak, 1e-9))), SAMPLE_RATE)


@cache
def load_font(font: Path):
    """A synthesizer with the soundfont, loaded once, and the font's number."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE, gain=0)
    return synth, synth.sfload(str(font))
