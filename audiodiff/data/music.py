"""How music lies on disk: one-shots of instruments with their names, and whole pieces.

A one-shot's label is the kind of instrument, read off its name; what it is a part of is the instrument itself, whose
other strokes sound nearly the same and stand on the same side of the split.
"""

import csv
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import partial
from pathlib import Path

from audiodiff.audio.io import EXTENSIONS, Audio, probe, read
from audiodiff.data import recordings
from audiodiff.data.recordings import Recording
from audiodiff.errors import UserError

# In this order: "snare rimshot" is a snare, "bass drum" a kick, "ride bell" a cymbal.
_LABELS = {
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
LABELS = tuple(_LABELS)
_WORDS = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=\d)")
_STROKES = re.compile(r"[\s_-]*(softest|soft|med|medium|hardest|hard|normal)?[\s_-]*\d*$", re.IGNORECASE)
# Kits of which Debian's copyright file and the author's own papers name different licences.
_UNCLEAR = {"rumpf_kit_z01_h2": "its own README and Debian's copyright file name different licences"}


def label_of(name: str) -> str:
    """The kind of instrument that a name tells, one of `LABELS`, "" if it tells none."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = _WORDS.sub(" ", spaced.lower())
    return next((label for label, pattern in _LABELS.items() if re.search(pattern, words)), "")


def stereo(path: Path) -> Audio:
    """A file with its two channels (2, T), or as one (1, T) if it has not just two.

    Raises:
        UserError: as `io.read`.
    """
    return read(path, channels=2 if probe(path).channels == 2 else 1)


def sonic_pi(root: Path) -> list[Recording]:
    """Sonic Pi's samples, KIND_NAME.flac: one-shots, and loops and sounds without a label."""
    return [
        _recording(
            path.stem, path, "" if path.stem.startswith(("loop", "ambi", "misc")) else label_of(path.stem), piece
        )
        for path in sorted(root.glob("*.flac"))
        for piece in [_STROKES.sub("", path.stem)]
    ]


def hydrogen(root: Path) -> list[Recording]:
    """Drum kits of Hydrogen: KIT/drumkit.xml, which names the instruments, and the files of their strokes."""
    found = []
    for description in sorted(root.glob("*/drumkit.xml")):
        kit = description.parent
        names = _instruments(description)
        for path in sorted(kit.iterdir()):
            if path.suffix.lower() in EXTENSIONS:
                name = names.get(path.name) or path.stem
                label = label_of(name) or label_of(path.stem)
                remark = _UNCLEAR.get(kit.name, "")
                found.append(_recording(f"{kit.name}/{path.stem}", path, label, f"{kit.name}/{name}", kit.name, remark))
    return found


def _instruments(description: Path) -> dict[str, str]:
    """Of each file the first instrument that plays it."""
    try:
        tree = ElementTree.parse(description)
    except ElementTree.ParseError as error:
        raise UserError(description, f"is no XML ({error})") from error
    names: dict[str, str] = {}
    for instrument in tree.iter():
        if instrument.tag.rpartition("}")[2] == "instrument":
            of = {child.tag.rpartition("}")[2]: child.text or "" for child in instrument.iter()}
            for child in instrument.iter():
                if child.tag.rpartition("}")[2] == "filename" and child.text:
                    names.setdefault(Path(child.text).name, of.get("name", "").strip())
    return names


def folder(root: Path) -> list[Recording]:
    """Any audio below `root`, as `recordings.folder` finds it, with its two channels.

    Labels, if any: labels.csv with a line `FILE,LABEL` for some of the files; else a file's first folder.

    Raises:
        UserError: no such folder, no audio, or a labels.csv that does not fit.
    """
    found = recordings.folder(root)
    labels = _table(root / "labels.csv", {one.key for one in found}) if (root / "labels.csv").exists() else {}
    return [
        replace(one, read=partial(stereo, *one.read.args), text="", speaker="", label=labels.get(one.key, one.speaker))
        for one in found
    ]


def _table(path: Path, keys: set[str]) -> dict[str, str]:
    """The label of every key that the file names, with its suffix or without."""
    labels = {}
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"cannot be read as CSV ({error})", "save it as UTF-8") from error
    for number, row in enumerate(rows, 1):
        if not any(row):
            continue
        if len(row) != 2:
            raise UserError(f"{path}, line {number}", f"has {len(row)} fields", "it should hold lines `FILE,LABEL`")
        name, label = (cell.strip() for cell in row)
        key = name if name in keys else Path(name).with_suffix("").as_posix()
        if key not in keys:
            raise UserError(f"{path}, line {number}", f"names {name!r}, which is no audio there", "mend or remove it")
        labels[key] = label
    return labels


def pieces(root: Path) -> list[Recording]:
    """Whole pieces below a folder, each its own."""
    return [
        _recording(path.relative_to(root).with_suffix("").as_posix(), path)
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in EXTENSIONS
    ]


def _recording(key: str, path: Path, label: str = "", piece: str = "", group: str = "", remark: str = "") -> Recording:
    sounds = partial(stereo, path)
    return recordings.recording(key, path, speaker=group, read=sounds, remark=remark, label=label, piece=piece)
