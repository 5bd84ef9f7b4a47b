"""Music rendered from scores: Bach's chorales from music21, played on the sampled instruments of a soundfont.

It needs Python packages only. Instrument and tempo are derived from a piece's name, so that both labels are exact, for
models conditioned on them. The clips are marked as synthetic.
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
from audiodiff.data.corpora.corpus import Corpus, Recording, Request
from audiodiff.data.corpora.soundfont import play
from audiodiff.errors import UserError

SAMPLE_RATE = 44100
INSTRUMENTS = {"piano": 0, "harpsichord": 6, "organ": 19, "guitar": 24, "strings": 48, "choir": 52}  # General MIDI
TEMPI = range(60, 121, 4)
_SOURCE = "synthetic: music21's corpus on TimGM6mb of pretty_midi, by tinysoundfont"
_LICENSE = (
    "public domain (chorales of J. S. Bach); see music21's corpus/license.txt (encodings); GPL-2 (soundfont TimGM6mb)"
)
_VELOCITY = 90
_INSTALL = "pip install music21 pretty_midi && pip install --no-deps tinysoundfont"


def open_corpus(request: Request) -> Corpus:
    """The chorales as a corpus."""
    return Corpus(recordings(), _SOURCE, _LICENSE, synthetic=True)


def recordings() -> list[Recording]:
    """All chorales; each is rendered when it is read.

    Raises:
        UserError: a package is missing.
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
        label = Annotation((instrument,)).label
        found.append(Recording(name, partial(_play, path, instrument, tempo), label=label, tempo=float(tempo)))
    return found


def _play(path: Path, instrument: str, tempo: float) -> Audio:
    """Render a piece in stereo.

    Raises:
        UserError: it cannot be read as a score, or has no notes.
    """
    from music21 import converter

    try:
        notes = list(_notes(converter.parse(path), tempo))
    except Exception as error:  # its parsers raise anything
        raise UserError(path, f"cannot be read as a score ({error})") from error
    if not notes:
        raise UserError(path, "has no notes")
    return Audio(torch.from_numpy(synthesize(notes, INSTRUMENTS[instrument])), SAMPLE_RATE)


def _notes(score, tempo: float) -> Iterator[tuple[float, float, int]]:
    """Start and end in seconds, and MIDI number, of all notes."""
    quarter = 60 / tempo
    for note in score.flatten().notes:
        start, length = float(note.offset) * quarter, float(note.quarterLength) * quarter
        if length > 0:
            yield from ((start, start + length, pitch.midi) for pitch in note.pitches)


def synthesize(notes: list[tuple[float, float, int]], program: int) -> np.ndarray:
    """Play notes (start and end in seconds, MIDI number) on a General MIDI program: (2, T) float32 at `SAMPLE_RATE`."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE, gain=-6)
    font = synth.sfload(str(resources.files("pretty_midi") / "TimGM6mb.sf2"))
    synth.program_select(0, font, 0, program)
    return np.ascontiguousarray(play(synth, [(*note, _VELOCITY) for note in notes], SAMPLE_RATE).T)
