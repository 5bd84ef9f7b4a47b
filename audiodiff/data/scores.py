"""Music rendered from scores: Bach's chorales out of music21, played on the sampled instruments of a soundfont.

For machines that have the package index and nothing else, and for models that are told instrument and tempo: of these
pieces both are known, since both follow from a piece's name. It is music by a machine, and says so.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.data.annotation import Annotation
from audiodiff.data.recordings import Recording
from audiodiff.errors import UserError

SAMPLE_RATE = 44100
INSTRUMENTS = {"piano": 0, "harpsichord": 6, "organ": 19, "guitar": 24, "strings": 48, "choir": 52}  # General MIDI
TEMPI = range(60, 121, 4)
SOURCE = "synthetic: music21's corpus on TimGM6mb of pretty_midi, by tinysoundfont"
LICENSE = "chorales of J. S. Bach (died 1750); encodings as music21's corpus/license.txt says; soundfont GPL-2"
_TAIL_SECONDS = 2.0
_VELOCITY = 90
_INSTALL = "pip install music21 pretty_midi && pip install --no-deps tinysoundfont"


def recordings() -> list[Recording]:
    """All chorales, unplayed.

    Raises:
        UserError: a package is missing; names the command that installs all of them.
    """
    for package in ("music21", "pretty_midi", "tinysoundfont"):
        if find_spec(package) is None:
            raise UserError("scores", f"needs the package {package}", _INSTALL)
    from music21 import corpus

    found = []
    for path in corpus.getComposer("bach"):
        name = Path(path).stem
        digest = hashlib.sha256(name.encode()).digest()
        instrument = list(INSTRUMENTS)[digest[0] % len(INSTRUMENTS)]
        tempo = TEMPI[digest[1] % len(TEMPI)]
        told = Annotation((instrument,), float(tempo))
        found.append(Recording(name, partial(_played, path, instrument, tempo), label=told.label, tempo=told.tempo))
    return found


def _played(path: Path, instrument: str, tempo: float) -> Audio:
    """A piece in stereo.

    Raises:
        UserError: it cannot be read as a score, or has no notes.
    """
    from music21 import converter

    try:
        notes = list(_notes(converter.parse(path), tempo))
    except Exception as error:  # what its parsers raise is not theirs alone
        raise UserError(path, f"cannot be read as a score ({error})") from error
    if not notes:
        raise UserError(path, "has no notes")
    return Audio(torch.from_numpy(rendered(notes, INSTRUMENTS[instrument])), SAMPLE_RATE)


def _notes(score, tempo: float) -> Iterator[tuple[float, float, int]]:
    """Start and end in seconds, and MIDI number, of all notes."""
    quarter = 60 / tempo
    for note in score.flatten().notes:
        start, length = float(note.offset) * quarter, float(note.quarterLength) * quarter
        if length > 0:
            yield from ((start, start + length, pitch.midi) for pitch in note.pitches)


def rendered(notes: list[tuple[float, float, int]], program: int) -> np.ndarray:
    """Notes (start and end in seconds, MIDI number) on a General MIDI program: (2, T) float32 at `SAMPLE_RATE`."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE, gain=-6)
    font = synth.sfload(str(resources.files("pretty_midi") / "TimGM6mb.sf2"))
    synth.program_select(0, font, 0, program)
    # At one time notes end before others begin, so that a repeated note is heard twice.
    events = sorted([(end, 0, key) for _, end, key in notes] + [(start, 1, key) for start, _, key in notes])
    pieces, now = [], 0
    for seconds, begins, key in [*events, (events[-1][0] + _TAIL_SECONDS, 2, 0)]:
        if (samples := round(seconds * SAMPLE_RATE) - now) > 0:
            pieces.append(np.frombuffer(synth.generate(samples), np.float32).copy())
            now += samples
        if begins == 1:
            synth.noteon(0, key, _VELOCITY)
        elif begins == 0:
            synth.noteoff(0, key)
    return np.ascontiguousarray(np.concatenate(pieces).reshape(-1, 2).T)
