"""Layouts of music corpora: one-shots of instruments and whole pieces.

A one-shot's label is the kind of instrument, from its name. Its piece is the instrument itself, whose other strokes
sound nearly the same and must be on the same side of the split.
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import partial
from pathlib import Path

from audiodiff.audio.io import EXTENSIONS, Audio, AudioFile, read
from audiodiff.data import annotation
from audiodiff.data.annotation import Annotation, drum_label
from audiodiff.data.corpora.corpus import Recording
from audiodiff.data.corpora.folder import audio_files, file_recording, recording, split_long
from audiodiff.errors import UserError

_STROKES = re.compile(r"[\s_-]*(softest|soft|med|medium|hardest|hard|normal)?[\s_-]*\d*$", re.IGNORECASE)
# Kits whose license differs between Debian's copyright file and the author's own papers, or who is not its holder.
_UNCLEAR = {
    "rumpf_kit_z01_h2": "its own README and Debian's copyright file name different licenses",
    "Audiophob": "its files are other people's recordings of freesound.org, whose licenses it does not name",
}


def read_stereo(path: Path | AudioFile, start: int = 0, samples: int | None = None) -> Audio:
    """Read a file as (2, T) if it has two channels, else as (1, T).

    Raises:
        UserError: as `io.read`.
    """
    if not isinstance(path, AudioFile):
        with AudioFile(path) as file:
            return read_stereo(file, start, samples)
    return read(path, start=start, samples=samples, channels=2 if path.channels == 2 else 1)


def sonic_pi(root: Path) -> list[Recording]:
    """Sonic Pi's samples, KIND_NAME.flac: one-shots, and loops and sounds without a label."""
    return [
        _recording(
            path.stem, path, "" if path.stem.startswith(("loop", "ambi", "misc")) else drum_label(path.stem), piece
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
                label = drum_label(name) or drum_label(path.stem)
                reason = _UNCLEAR.get(kit.name, "")
                found.append(_recording(f"{kit.name}/{path.stem}", path, label, f"{kit.name}/{name}", kit.name, reason))
    return found


def _instruments(description: Path) -> dict[str, str]:
    """The first instrument that uses each file."""
    try:
        tree = ElementTree.parse(description)
    except ElementTree.ParseError as error:
        raise UserError(description, f"is not XML ({error})", "download it again") from error
    names: dict[str, str] = {}
    for instrument in tree.iter():
        if instrument.tag.rpartition("}")[2] == "instrument":
            texts = {child.tag.rpartition("}")[2]: child.text or "" for child in instrument.iter()}
            for child in instrument.iter():
                if child.tag.rpartition("}")[2] == "filename" and child.text:
                    names.setdefault(Path(child.text).name, texts.get("name", "").strip())
    return names


def folder(root: Path) -> list[Recording]:
    """Any audio below `root`, with its two channels.

    Labels come from labels.csv, with lines `FILE,LABEL,...` of which one may be a tempo such as `120 bpm`. Files that
    are not in it are labeled with their first folder, and with the genre, key and tempo in their names and tags.

    Raises:
        UserError: no such folder, no audio, or a labels.csv that does not match.
    """
    files, labels = audio_files(root), root / "labels.csv"
    table = annotation.read_labels(labels, files) if labels.exists() else {}
    annotated = ((path, _annotate(key, path, root, table.get(key))) for key, path in files.items())
    return [part for path, one in annotated for part in split_long(one, path, read_stereo)]


def _annotate(key: str, path: Path, root: Path, known: Annotation | None) -> Recording:
    one = file_recording(key, path, root, read=partial(read_stereo, path))
    if known is None:
        first = Annotation((one.speaker,) if one.speaker else ())
        known = first | annotation.from_name(Path(key).name) | annotation.from_tags(path)
    return replace(one, speaker="", label=known.label, tempo=known.tempo)


def pieces(root: Path) -> list[Recording]:
    """Whole pieces below a folder, one a file."""
    return [
        _recording(path.relative_to(root).with_suffix("").as_posix(), path)
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in EXTENSIONS
    ]


def _recording(key: str, path: Path, label: str = "", piece: str = "", group: str = "", reason: str = "") -> Recording:
    read_file = partial(read_stereo, path)
    return recording(key, path, speaker=group, read=read_file, exclude_reason=reason, label=label, piece=piece)
