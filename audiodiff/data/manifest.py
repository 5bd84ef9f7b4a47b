"""The manifest: all clips of a data set, with their texts, speakers, licenses and splits.

A manifest is a JSONL file. Its first line is a header, `{"manifest": "audiodiff", "version": 1, "split_by": "clip"}`;
every further line is one `Clip`. Paths are relative to the manifest's folder, so that it can be moved as a whole.

The split is 90/5/5 and a pure function of names: a clip's split is derived from a hash of its id, so that adding clips
does not move it. Clips with the same samples are in the same split, that of the smallest of their ids. With
`split_by="speaker"` the speaker is hashed, so that all clips of a speaker are in one split. Clips of one piece, such as
one drum struck softly and hard, are always in one split.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_type_hints

import numpy as np

from audiodiff.audio.io import EXTENSIONS
from audiodiff.data.captions import Caption
from audiodiff.errors import UserError
from audiodiff.files import is_safe_relative_path, write_text
from audiodiff.remote import is_folder, location

NAME = "manifest.jsonl"
VERSION = 1
SPLITS = ("train", "validation", "test")
SPLIT_BY = ("clip", "speaker")
LABEL_SEPARATOR = "; "
# Chosen for the small corpus asterisk-en: 30 clips and over a minute, none of them longer than 11 s, on either side.
SPLIT_SALT = "audiodiff-547"
MIN_NAMES_TO_HOLD_OUT = 5  # of so many names one is held out whatever their hashes
DURATIONS_TOLERANCE = 1.001e-3  # seconds, of the sum of a clip's durations: a millisecond, and rounding
_MAX_VALUE = 1e9  # seconds, hertz, beats per minute
_FIX = "prepare the data again with `audiodiff prepare`"


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        id: unique in the manifest, `CORPUS/KEY`; also used as a file name: a relative path without `..`.
        path: the audio file, relative to the manifest's folder, with forward slashes; read-only, and may be anywhere.
        seconds: duration; `round(seconds * sample_rate)` is the number of samples, exactly.
        sample_rate: Hz, of the file.
        text: transcript, "" if unknown.
        speaker: name, unique across corpora.
        split: "train", "validation" or "test".
        license: as the corpus states it; see `licenses.license_terms`.
        source: where it comes from, such as the package's name and version.
        synthetic: whether it is machine-made.
        content: hash of the samples, which identifies duplicates; "" if it was not computed. Also used as a file name.
        label: class, such as the instrument; several are separated by "; "; "" if unknown.
        piece: the larger work that it is part of, unique across corpora and all in one split; "" if there is none.
        channels: 1, or 2 for a stereo file.
        tempo: beats per minute; 0 if unknown.
        language: of the text, such as "en-us"; "" if unknown.
        phonemes: what is spoken, one character a symbol (`text.symbols`), without silence at the ends; "" if unknown.
        durations: seconds of the silence before, of each symbol, and of the silence after: `len(phonemes) + 2` of them,
            whose sum is `seconds` within a millisecond; () if unknown.
        pitch: of the same parts, the median fundamental frequency of the voiced frames in Hz, 0 for unvoiced parts; ()
            if unknown.
        alignment_score: how well phonemes and audio fit where `durations` were found by an aligner, in nats per frame:
            close to 0 is best; 0 if they were not.
        caption: description of the sound, in the canonical wording; "" if unknown. Unlike `text` it is not spoken.
        caption_parts: of a composed caption, from which other wordings are drawn (`captions.Caption`); else ().
    """

    id: str
    path: str
    seconds: float
    sample_rate: int
    text: str = ""
    speaker: str = ""
    split: str = "train"
    license: str = ""
    source: str = ""
    synthetic: bool = False
    content: str = ""
    label: str = ""
    piece: str = ""
    channels: int = 1
    tempo: float = 0.0
    language: str = ""
    phonemes: str = ""
    durations: tuple[float, ...] = ()
    pitch: tuple[float, ...] = ()
    alignment_score: float = 0.0
    caption: str = ""
    caption_parts: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Number of samples in the file."""
        return round(self.seconds * self.sample_rate)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels."""
        return tuple(self.label.split(LABEL_SEPARATOR)) if self.label else ()

    def draw_caption(self, random: np.random.Generator) -> str:
        """A wording of the caption at random, as training draws it; "" if there is no caption."""
        return Caption(self.caption, self.caption_parts).draw(random)

    def caption_words(self, forms: bool = True) -> set[str]:
        """All words, in small letters, that the caption or a drawn wording of it may have, as `Caption.words`."""
        return Caption(self.caption, self.caption_parts).words(forms)


# Fields added after the first version; written only if they differ from the default, so that hashes do not change.
_OPTIONAL = {
    field.name: field.default
    for field in fields(Clip)
    if field.name
    in (
        *("label", "tempo", "piece", "channels", "language", "phonemes", "durations", "pitch", "alignment_score"),
        *("caption", "caption_parts"),
    )
}
_TYPES = get_type_hints(Clip)
_SERIES = ("durations", "pitch")  # fields that hold a number for each part of the phonemes
_OLD_NAMES = {"licence": "license"}  # field names of manifests written of version 0.1


@dataclass(frozen=True)
class Manifest:
    """Clips, and the folder that their paths are relative to."""

    clips: tuple[Clip, ...]
    root: Path
    split_by: str = "clip"

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.clips)

    @classmethod
    def load(cls, path: str | Path) -> "Manifest":
        """Load a manifest from its file or its folder.

        Raises:
            UserError: it is missing, or a line is malformed.
        """
        folder = path if is_folder(path := location(path)) else None
        path = folder / NAME if folder else path
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except FileNotFoundError:
            fix = "prepare some data with `audiodiff prepare`"
            if folder and any(found.suffix.lower() in EXTENSIONS for found in folder.iterdir()):
                words = ["audiodiff", "prepare", f"folder:{folder}", "--out", f"data/{folder.resolve().name}"]
                fix = f"prepare its recordings: `{shlex.join(words)}`"
            raise UserError(path, "no such manifest", fix) from None
        except (ValueError, OSError) as error:
            raise UserError(path, f"cannot be read as a manifest ({error})", _FIX) from error
        header = _object(lines[0], f"{path}, line 1") if lines[0].strip() else {}
        if header.get("manifest") != "audiodiff":
            raise UserError(f"{path}, line 1", "is not the header of a manifest", _FIX)
        if header.get("version") != VERSION:
            raise UserError(f"{path}, line 1", f"version {header.get('version')!r}, this program reads {VERSION}", _FIX)
        if header.get("split_by", "clip") not in SPLIT_BY:
            raise UserError(f"{path}, line 1", f"split_by is {header['split_by']!r}, not one of {SPLIT_BY}", _FIX)
        clips = tuple(_clip(line, f"{path}, line {n}") for n, line in enumerate(lines[1:], 2) if line.strip())
        seen: set[str] = set()
        for clip in clips:
            if clip.id in seen:
                raise UserError(path, f"id {clip.id!r} is on two lines", _FIX)
            seen.add(clip.id)
        return cls(clips, path.parent, header.get("split_by", "clip"))

    @classmethod
    def join(cls, manifests: Sequence["Manifest"]) -> "Manifest":
        """One manifest of several, with the folder of all of them as its root.

        A training clip whose samples another manifest holds out is left out.

        Raises:
            UserError: a clip is in two of them.
        """
        if len(manifests) == 1:
            return manifests[0]
        root = Path(os.path.commonpath([manifest.root.absolute() for manifest in manifests]))
        clips: list[Clip] = []
        seen: dict[str, Path] = {}
        for manifest in manifests:
            folder = Path(os.path.relpath(manifest.root.absolute(), root))
            for clip in manifest.clips:
                if clip.id in seen:
                    problem = f"is in both {seen[clip.id]} and {manifest.root}"
                    raise UserError(f"clip {clip.id!r}", problem, "leave one of them out")
                seen[clip.id] = manifest.root
                clips.append(replace(clip, path=(folder / clip.path).as_posix()))
        held_out = {clip.content for clip in clips if clip.split != "train" and clip.content}
        chosen = tuple(clip for clip in clips if clip.split != "train" or clip.content not in held_out)
        kinds = {manifest.split_by for manifest in manifests}
        return cls(chosen, root, kinds.pop() if len(kinds) == 1 else "clip")

    def save(self, path: str | Path | None = None) -> Path:
        """Write to `path` (a file or a folder; default: the root), atomically; returns the path written.

        The clips' paths are not rewritten: they stay relative to `root`.
        """
        path = self.root if path is None else Path(path)
        path = path if path.suffix == ".jsonl" else path / NAME
        header = {"manifest": "audiodiff", "version": VERSION, "split_by": self.split_by}
        lines = [json.dumps(line, ensure_ascii=False) for line in (header, *map(_record, self.clips))]
        write_text(path, "\n".join(lines) + "\n")
        return path

    def with_splits(self, *splits: str) -> "Manifest":
        """The clips of these splits."""
        unknown = set(splits) - set(SPLITS)
        if unknown:
            raise UserError(", ".join(sorted(unknown)), "is not a split", f"choose among {', '.join(SPLITS)}")
        return replace(self, clips=tuple(clip for clip in self.clips if clip.split in splits))

    def with_labels(self, *labels: str) -> "Manifest":
        """The clips that have one of these labels; all clips if none is given."""
        return replace(self, clips=tuple(clip for clip in self.clips if not labels or set(labels) & set(clip.labels)))

    def path(self, clip: Clip) -> Path:
        """Path of the clip's audio file."""
        return self.root / clip.path

    def content_hash(self) -> str:
        """Hash of all clips, independent of their order and of the folder."""
        # Under the old names: checkpoints and reports record the hash.
        old = {new: old for old, new in _OLD_NAMES.items()}
        records = ({old.get(name, name): value for name, value in _record(clip).items()} for clip in self.clips)
        lines = sorted(json.dumps(record, sort_keys=True) for record in records)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def split_of(name: str) -> str:
    """The split of a clip id (or a speaker): 90/5/5 by hash."""
    position = _position(name)
    return "train" if position < 0.9 else "validation" if position < 0.95 else "test"


def _position(name: str) -> float:
    digest = hashlib.sha256(f"{SPLIT_SALT}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """The split of each name (of a clip, a piece, a speaker): `split_of`, except for small sets.

    At least one name is trained on, and of five or more at least one is held out: the one whose hash is closest to that
    split. A name that was trained on is not held out when more are added.
    """
    positions = {name: _position(name) for name in names}
    found = {name: split_of(name) for name in positions}
    if positions and "train" not in found.values():
        found[min(positions, key=positions.__getitem__)] = "train"
    if len(positions) >= MIN_NAMES_TO_HOLD_OUT and set(found.values()) == {"train"}:
        found[max(positions, key=positions.__getitem__)] = "validation"
    return found


def assign_splits(clips: Iterable[Clip], by: str = "clip") -> tuple[Clip, ...]:
    """Assign a split to every clip, in order of id: one for duplicates, pieces and, with `by="speaker"`, speakers.

    Duplicates in two speakers (or pieces) join these into one group, which gets the split of its smallest name.
    """
    clips = sorted(clips, key=lambda clip: clip.id)
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    names = [(clip.speaker if by == "speaker" else "") or clip.piece or clip.id for clip in clips]
    first: dict[str, str] = {}
    for clip, name in zip(clips, names, strict=True):
        a, b = find(name), find(first.setdefault(clip.content, name) if clip.content else name)
        leader[max(a, b)] = min(a, b)
    split = splits_of({find(name) for name in names})
    return tuple(replace(clip, split=split[find(name)]) for clip, name in zip(clips, names, strict=True))


def _record(clip: Clip) -> dict:
    """The fields of a clip to be written."""
    return {name: value for name, value in vars(clip).items() if name not in _OPTIONAL or value != _OPTIONAL[name]}


def _object(line: str, where: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(where, f"is not JSON ({error})", _FIX) from error
    if not isinstance(value, dict):
        raise UserError(where, "is not a JSON object", _FIX)
    return value


def _clip(line: str, where: str) -> Clip:
    value = {_OLD_NAMES.get(name, name): found for name, found in _object(line, where).items()}
    for name, kind in _TYPES.items():
        if name not in value:
            if name in ("id", "path", "seconds", "sample_rate"):
                raise UserError(where, f"field {name!r} is missing", _FIX)
            continue
        entry = value[name]
        if name in _SERIES:
            value[name] = _numbers(name, entry, where)
            continue
        if name == "caption_parts":
            value[name] = _parts(entry, where)
            continue
        if not isinstance(entry, (int, float) if kind is float else kind) or isinstance(entry, bool) != (kind is bool):
            raise UserError(where, f"field {name!r} is {entry!r}, not {kind.__name__}", _FIX)
        if isinstance(entry, str) and not _is_text(entry):
            raise UserError(where, f"field {name!r} is {entry!r}, which is not valid UTF-8", _FIX)
    unknown = sorted(value.keys() - _TYPES.keys())
    if unknown:
        raise UserError(where, f"unknown field {unknown[0]!r}", _FIX)
    _check_values(value, where)
    return Clip(**value)


def _numbers(name: str, entry: object, where: str) -> tuple[float, ...]:
    """A series of a clip, each number 0 or above."""
    if not isinstance(entry, list):
        raise UserError(where, f"field {name!r} is {entry!r:.40}, not a list of numbers", _FIX)
    for number, one in enumerate(entry, 1):
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < _MAX_VALUE:
            problem = f"number {number} of field {name!r} is {one!r:.40}, not 0 or above and below {_MAX_VALUE:g}"
            raise UserError(where, problem, _FIX)
    return tuple(entry)


def _parts(entry: object, where: str) -> tuple[str, ...]:
    """The parts of a caption, at least one of them a noun."""
    if not isinstance(entry, list):
        raise UserError(where, f"field 'caption_parts' is {entry!r:.40}, not a list", _FIX)
    parts = tuple(entry)
    try:
        Caption("", parts).validate()
    except ValueError as error:
        raise UserError(where, f"field 'caption_parts' {error}", _FIX) from None
    return parts


def _check_series(value: dict, where: str) -> None:
    """Check that the series fit the phonemes and the duration of the clip."""
    parts = len(value.get("phonemes", "")) + 2
    for name in _SERIES:
        count = len(value.get(name, ()))
        if count and (count != parts or parts == 2):
            problem = (
                f"field {name!r} has {count} numbers for {parts - 2} phonemes, which need {parts} (two of silence)"
            )
            raise UserError(where, problem, _FIX)
    total = sum(value.get("durations", ()))
    if total and abs(total - value["seconds"]) > DURATIONS_TOLERANCE:
        raise UserError(where, f"field 'durations' sums to {total:.4f} s, the clip has {value['seconds']:.4f} s", _FIX)


def _is_text(value: str) -> bool:
    """Whether it can be encoded as UTF-8; an unpaired surrogate cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_values(value: dict, where: str) -> None:
    if value.get("split", "train") not in SPLITS:
        raise UserError(where, f"field 'split' is {value['split']!r}, not one of {', '.join(SPLITS)}", _FIX)
    if value.get("channels", 1) not in (1, 2):
        raise UserError(where, f"field 'channels' is {value['channels']!r}, not 1 or 2", _FIX)
    if not 0 <= value.get("tempo", 0) < _MAX_VALUE:
        raise UserError(
            where, f"field 'tempo' is {value['tempo']!r:.40}, not 0 or above and below {_MAX_VALUE:g}", _FIX
        )
    if not -_MAX_VALUE < value.get("alignment_score", 0) <= 0:
        problem = f"field 'alignment_score' is {value['alignment_score']!r:.40}, not 0 or below"
        raise UserError(where, problem, "align the data again with `audiodiff align`")
    for name in ("seconds", "sample_rate"):
        if not 0 < value[name] < _MAX_VALUE:
            raise UserError(
                where, f"field {name!r} is {value[name]!r:.40}, must be above 0 and below {_MAX_VALUE:g}", _FIX
            )
    _check_series(value, where)
    for name in ("id", "path"):
        if not value[name]:
            raise UserError(where, f"field {name!r} is empty", _FIX)
    if "\0" in value["path"]:
        raise UserError(where, f"field 'path' is {value['path']!r}, which is no path", _FIX)
    for name in ("id", "content"):
        if value.get(name) and (not is_safe_relative_path(value[name]) or (name == "content" and "/" in value[name])):
            raise UserError(where, f"field {name!r} is {value[name]!r}, which leads out of a folder", _FIX)
