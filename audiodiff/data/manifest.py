"""The manifest: which clips there are, what is said in them, whose they are, and on which side of the split they stand.

A manifest is a JSONL file. Its first line is a header, `{"manifest": "audiodiff", "version": 1, "split_by": "clip"}`;
every further line is one `Clip`. Paths are relative to the manifest's folder, so that it can be moved as a whole.

The split is 90/5/5 and a pure function of names: a clip's side follows from a hash of its id; adding others does
not move it. Only clips with the same samples are tied: they go to the side of the smallest of their ids. With
`split_by="speaker"` the hash is taken of the speaker, so that a whole speaker is either trained on or held out. Clips
that name a piece, such as one drum struck softly and hard, always go where their piece goes.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from audiodiff.audio.io import EXTENSIONS
from audiodiff.errors import UserError
from audiodiff.files import is_safe_relative_path, write_text

NAME = "manifest.jsonl"
VERSION = 1
SPLITS = ("train", "validation", "test")
SPLIT_BY = ("clip", "speaker")
LABEL_MARK = "; "
# Chosen for the small corpus asterisk-en: 30 clips and over a minute, none of them longer than 11 s, on either side.
SPLIT_SALT = "audiodiff-547"
FEWEST_TO_HOLD_OUT = 5  # names of which one is held out whatever their hashes
_MOST = 1e9  # seconds, hertz, beats a minute
_FIX = "prepare the data again with `audiodiff prepare`"


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        id: unique in the manifest, `CORPUS/KEY`; files are named by it, so that it is a relative path without `..`.
        path: the audio file, relative to the manifest's folder, with forward slashes. It is only read, and may lie
            anywhere.
        seconds: duration; `round(seconds * sample_rate)` is the number of samples, exactly.
        sample_rate: Hz, of the file.
        text: what is said, "" where it is not known.
        speaker: who says it, unique across corpora.
        split: "train", "validation" or "test".
        license: what the corpus' own copyright file says.
        source: where it comes from, such as the package's name and version.
        synthetic: made by a machine, not recorded.
        content: hash of the samples, by which duplicates are known; "" where it was not computed. It names files, too.
        label: of what kind it is, such as the instrument; several are parted by "; "; "" where it is not known.
        piece: what it is a part of, unique across corpora, all of it on one side of the split; "" for nothing larger.
        channels: 1, or 2 for a stereo file.
        tempo: beats a minute; 0 where it is not known.
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

    @property
    def samples(self) -> int:
        """Number of samples in the file."""
        return round(self.seconds * self.sample_rate)

    @property
    def labels(self) -> tuple[str, ...]:
        """What it is, one by one."""
        return tuple(self.label.split(LABEL_MARK)) if self.label else ()


_LATER = {field.name: field.default for field in fields(Clip) if field.name in ("label", "tempo", "piece", "channels")}


@dataclass(frozen=True)
class Manifest:
    """Clips, and the folder that their paths start from."""

    clips: tuple[Clip, ...]
    root: Path
    split_by: str = "clip"

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.clips)

    @classmethod
    def load(cls, path: str | Path) -> "Manifest":
        """Read a manifest from its file or from the folder that holds it.

        Raises:
            UserError: it is missing, or a line is malformed (named by its number and field).
        """
        path = Path(path)
        folder = path if path.is_dir() else None
        path = folder / NAME if folder else path
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except FileNotFoundError:
            fix = "prepare some data with `audiodiff prepare`"
            if folder and any(found.suffix.lower() in EXTENSIONS for found in folder.iterdir()):
                words = ["audiodiff", "prepare", f"folder:{folder}", "--out", f"data/{folder.resolve().name}"]
                fix = f"prepare its recordings: `{shlex.join(words)}`"
            raise UserError(path, "no such manifest", fix) from None
        except (UnicodeDecodeError, OSError) as error:
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
                raise UserError(path, f"id {clip.id!r} stands on two lines", _FIX)
            seen.add(clip.id)
        return cls(clips, path.parent, header.get("split_by", "clip"))

    def save(self, path: str | Path | None = None) -> Path:
        """Write to `path` (a file or a folder; default: the root), atomically; the path written is returned.

        The clips' paths are not rewritten: they are meant from `root` on.
        """
        path = self.root if path is None else Path(path)
        path = path if path.suffix == ".jsonl" else path / NAME
        header = {"manifest": "audiodiff", "version": VERSION, "split_by": self.split_by}
        lines = [json.dumps(line, ensure_ascii=False) for line in (header, *map(_told, self.clips))]
        write_text(path, "\n".join(lines) + "\n")
        return path

    def with_splits(self, *splits: str) -> "Manifest":
        """The clips of these splits alone."""
        unknown = set(splits) - set(SPLITS)
        if unknown:
            raise UserError(", ".join(sorted(unknown)), "is not a split", f"choose among {', '.join(SPLITS)}")
        return replace(self, clips=tuple(clip for clip in self.clips if clip.split in splits))

    def with_labels(self, *labels: str) -> "Manifest":
        """The clips that have one of these labels; all if none is named."""
        return replace(self, clips=tuple(clip for clip in self.clips if not labels or set(labels) & set(clip.labels)))

    def path(self, clip: Clip) -> Path:
        """Where the clip's audio lies."""
        return self.root / clip.path

    def content_hash(self) -> str:
        """Hash of everything the manifest says, in any order of its lines; where it lies does not matter."""
        lines = sorted(json.dumps(_told(clip), sort_keys=True) for clip in self.clips)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def split_of(name: str) -> str:
    """The side of the split that a clip id (or a speaker) belongs to: 90/5/5 by hash."""
    share = _share(name)
    return "train" if share < 0.9 else "validation" if share < 0.95 else "test"


def _share(name: str) -> float:
    digest = hashlib.sha256(f"{SPLIT_SALT}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def sides(names: Iterable[str]) -> dict[str, str]:
    """Of each name (of a clip, a piece, a speaker) its side of the split: `split_of`, except where there are few.

    Something is trained on, and of five names or more one is held out: that which comes nearest to it by its hash. From
    then on what was trained on is not held out when names are added.
    """
    shares = {name: _share(name) for name in names}
    found = {name: split_of(name) for name in shares}
    if shares and "train" not in found.values():
        found[min(shares, key=shares.get)] = "train"
    if len(shares) >= FEWEST_TO_HOLD_OUT and set(found.values()) == {"train"}:
        found[max(shares, key=shares.get)] = "validation"
    return found


def assign_splits(clips: Iterable[Clip], by: str = "clip") -> tuple[Clip, ...]:
    """Give every clip its side, in order of id: duplicates and pieces together, with `by="speaker"` whole speakers.

    Duplicates in two speakers (or pieces) tie these to each other; the group goes where its smallest name goes.
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
    side = sides({find(name) for name in names})
    return tuple(replace(clip, split=side[find(name)]) for clip, name in zip(clips, names, strict=True))


def _told(clip: Clip) -> dict:
    """Of the clip what is to be written. Fields that came later are left out where they say nothing."""
    return {name: value for name, value in asdict(clip).items() if name not in _LATER or value != _LATER[name]}


def _object(line: str, where: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(where, f"is not JSON ({error})", _FIX) from error
    if not isinstance(value, dict):
        raise UserError(where, "is not a JSON object", _FIX)
    return value


def _clip(line: str, where: str) -> Clip:
    value = _object(line, where)
    for field in fields(Clip):
        if field.name not in value:
            if field.name in ("id", "path", "seconds", "sample_rate"):
                raise UserError(where, f"field {field.name!r} is missing", _FIX)
            continue
        given = value[field.name]
        allowed = (int, float) if field.type is float else field.type
        if not isinstance(given, allowed) or (isinstance(given, bool) and field.type is not bool):
            raise UserError(where, f"field {field.name!r} is {given!r}, not {field.type.__name__}", _FIX)
        if isinstance(given, str) and not _is_text(given):
            raise UserError(where, f"field {field.name!r} is {given!r}, which is no text", _FIX)
    unknown = sorted(set(value) - {field.name for field in fields(Clip)})
    if unknown:
        raise UserError(where, f"field {unknown[0]!r} is not known", _FIX)
    _check_values(value, where)
    return Clip(**value)


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair cannot."""
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
    if not 0 <= value.get("tempo", 0) < _MOST:
        raise UserError(where, f"field 'tempo' is {value['tempo']!r:.40}, not 0 or above and below {_MOST:g}", _FIX)
    for name in ("seconds", "sample_rate"):
        if not 0 < value[name] < _MOST:
            raise UserError(where, f"field {name!r} is {value[name]!r:.40}, not above 0 and below {_MOST:g}", _FIX)
    for name in ("id", "path"):
        if not value[name]:
            raise UserError(where, f"field {name!r} is empty", _FIX)
    if "\0" in value["path"]:
        raise UserError(where, f"field 'path' is {value['path']!r}, which is no path", _FIX)
    for name in ("id", "content"):
        if value.get(name) and (not is_safe_relative_path(value[name]) or (name == "content" and "/" in value[name])):
            raise UserError(where, f"field {name!r} is {value[name]!r}, which leads out of a folder", _FIX)
