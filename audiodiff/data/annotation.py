"""Labels and tempo of music recordings, from file names, tags or a table.

Labels are words: an instrument, a genre, a key ("A minor"). The tempo is a number, in beats per minute.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audiodiff.data.manifest import LABEL_SEPARATOR
from audiodiff.data.table import Table
from audiodiff.errors import UserError
from audiodiff.extras import load_module

# The first match counts: "snare rimshot" is a snare, "bass drum" a kick, "ride bell" a cymbal.
_DRUMS = {
    "kick": r"kick|bass ?drum|drum bass|\bbd\b|stomp|cajon thump",
    "snare": r"snare|\bsn\b|\bsd\b|redo super opaco|cajon slap",
    "rim": r"rim|stick|clave|\bwood(block)?\b|click",
    "hat": r"hi ?hat|\bhats?\b|\b[cop]?hh\b|cymbal (closed|pedal)",
    "cymbal": r"cymbal|crash|ride|splash|china|paiste|\bcrc?\b",
    "tom": r"\btoms?\b|tom(hi|mid|low)|fuzz tom",
    "clap": r"clap|snap",
    "hand drum": r"conga|bongo|djembe|tabla|sangban|dununba|kenkeni",
    "percussion": r"bell|agogo|tambourine|maraca|shaker|triangle|waterglass|perc|whistle|tick|ping|drum",
}
DRUMS = tuple(_DRUMS)
_WORDS = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=\d)")
_TEMPO = re.compile(
    r"(?<![\d.])(\d{2,3}(?:\.\d+)?)[\s_-]*bpm(?![a-z])|(?<![a-z])bpm[\s_-]*(\d{2,3}(?:\.\d+)?)", re.IGNORECASE
)
_KEY = re.compile(r"(?<![A-Za-z0-9])([A-Ga-g])(#|b|♯|♭)?[\s_-]*(major|minor|maj|min|m)(?![A-Za-z0-9])")
_SHORT_KEY = re.compile(r"([A-G])([#b]?)(m?)")
_FORM = "`FILE,LABEL,...`"
_TEMPO_RANGE = (20.0, 400.0)  # beats per minute


@dataclass(frozen=True)
class Annotation:
    """Labels and tempo of a recording.

    Attributes:
        labels: any number.
        tempo: beats per minute, 0 if unknown.
    """

    labels: tuple[str, ...] = ()
    tempo: float = 0.0

    @property
    def label(self) -> str:
        """All labels in one string, as in a manifest."""
        return LABEL_SEPARATOR.join(self.labels)

    def __or__(self, other: "Annotation") -> "Annotation":
        """Both; the first one's tempo if both have one."""
        return Annotation(tuple(dict.fromkeys(self.labels + other.labels)), self.tempo or other.tempo)


def drum_label(name: str) -> str:
    """The kind of drum in a name, one of `DRUMS`; "" if there is none."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = _WORDS.sub(" ", spaced.lower())
    return next((label for label, pattern in _DRUMS.items() if re.search(pattern, words)), "")


def from_name(name: str) -> Annotation:
    """Key and tempo in a file name, such as `groove_A minor_120bpm`."""
    key, tempo = _KEY.search(name), _TEMPO.search(name)
    labels: tuple[str, ...] = ()
    if key:
        note, accidental, mode = key.groups()
        labels = (_key(note.upper(), accidental or "", mode[0] == "m" and not mode.startswith("maj")),)
    return Annotation(labels, _tempo(next(filter(None, tempo.groups()))) if tempo else 0.0)


def from_tags(path: Path) -> Annotation:
    """Genre, key and tempo in a file's tags; empty if it has none or they cannot be read."""
    tinytag = load_module("tinytag")
    try:
        tags = tinytag.TinyTag.get(path)
    except Exception:  # damaged tags are ignored
        return Annotation()
    keys = [_SHORT_KEY.fullmatch(str(value).strip()) for value in tags.other.get("initial_key", [])]
    labels = [_key(note, accidental, bool(minor)) for note, accidental, minor in (k.groups() for k in keys if k)]
    tempi = [_tempo(str(value)) for value in tags.other.get("bpm", [])]
    genre = (tags.genre or "").replace(LABEL_SEPARATOR.strip(), " ").strip()
    return Annotation((*([genre] if genre else []), *labels), next(filter(None, tempi), 0.0))


def read_labels(path: Path, files: Mapping[str, Path]) -> dict[str, Annotation]:
    """Read labels.csv, with lines `FILE,LABEL,...`, and log how many lines match.

    A cell such as `120 bpm` is the tempo, every other cell a label.

    Args:
        path: labels.csv.
        files: the recordings' files by key.

    Warns:
        UserWarning: some lines match no recording.

    Raises:
        UserError: as `Table.read`, or a line has no label.
    """
    rows = Table.read(path, files, _FORM)
    found: dict[str, Annotation] = {}
    for line in rows.lines:
        words, where = [word for word in line.cells if word], f"{path}, line {line.number}"
        if not words:
            raise UserError(where, "has no label", f"write {_FORM}")
        matches = [_TEMPO.fullmatch(word) for word in words]
        labels = tuple(word for word, match in zip(words, matches, strict=True) if not match)
        tempi = [_tempo(match[1] or match[2]) for match in matches if match]
        if 0.0 in tempi:
            problem = f"has a tempo outside {_TEMPO_RANGE[0]:g} to {_TEMPO_RANGE[1]:g} beats per minute"
            raise UserError(where, problem, f"write a tempo from {_TEMPO_RANGE[0]:g} to {_TEMPO_RANGE[1]:g} bpm")
        found |= dict.fromkeys(line.keys, Annotation(labels, next(iter(tempi), 0.0)))
    rows.report()
    return found


def _key(note: str, accidental: str, minor: bool) -> str:
    return f"{note}{accidental.replace('♯', '#').replace('♭', 'b')} {'minor' if minor else 'major'}"


def _tempo(text: str) -> float:
    try:
        tempo = float(text)
    except ValueError:
        return 0.0
    return tempo if _TEMPO_RANGE[0] <= tempo <= _TEMPO_RANGE[1] else 0.0
