"""How music lies on disk: one-shots of instruments with their names, and whole pieces.

A one-shot's label is the kind of instrument, read off its name; what it is a part of is the instrument itself, whose
other strokes sound nearly the same and stand on the same side of the split.
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import partial
from pathlib import Path

from audiodiff.audio.io import EXTENSIONS, Audio, AudioFile, read
from audiodiff.data import annotation, recordings
from audiodiff.data.annotation import Annotation, drum_label
from audiodiff.data.recordings import Recording
from audiodiff.errors import UserError

_STROKES = re.compile(r"[\s_-]*(softest|soft|med|medium|hardest|hard|normal)?[\s_-]*\d*$", re.IGNORECASE)
# Kits of which Debian's copyright file and the author's own papers name different licenses.
_UNCLEAR = {"rumpf_kit_z01_h2": "its own README and Debian's copyright file name different licenses"}


def stereo(path: Path | AudioFile, start: int = 0, samples: int | None = None) -> Audio:
    """A file with its two channels (2, T), or as one (1, T) if it has not just two, from `start` on.

    Raises:
        UserError: as `io.read`.
    """
    if not isinstance(path, AudioFile):
        with AudioFile(path) as file:
            return stereo(file, start, samples)
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
    """Any audio below `root`, as `recordings.files` finds it, with its two channels.

    What a file is: what labels.csv says of it, lines `FILE,LABEL,...` of which one may be a tempo such as `120 bpm`; a
    file that stands in none is of its first folder, and of the genre, key and tempo in its name and tags.

    Raises:
        UserError: no such folder, no audio, or a labels.csv that does not fit.
    """
    found, said = recordings.files(root), root / "labels.csv"
    table = annotation.read_labels(said, found) if said.exists() else {}
    annotated = ((path, _annotated(key, path, root, table.get(key))) for key, path in found.items())
    return [part for path, one in annotated for part in recordings.parts(one, path, stereo)]


def _annotated(key: str, path: Path, root: Path, known: Annotation | None) -> Recording:
    one = recordings.found_at(key, path, root, read=partial(stereo, path))
    if known is None:
        first = Annotation((one.speaker,) if one.speaker else ())
        known = first | annotation.from_name(Path(key).name) | annotation.from_tags(path)
    return replace(one, speaker="", label=known.label, tempo=known.tempo)


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
