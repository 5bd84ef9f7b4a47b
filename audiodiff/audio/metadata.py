"""Settings in audio files: a JSON object in the comment of a WAV, FLAC or Ogg Vorbis file.

The comment is where each format has a place for it, so that players show it and most converters copy it: `ICMT` of the
list `INFO` of a WAV (Multimedia Programming Interface and Data Specifications 1.0, 1991, chapter 3), and the field
COMMENT of FLAC and Vorbis (xiph.org/vorbis/doc/v-comment.html). The list of a WAV follows the samples, since many
programs expect these after a header of 44 bytes.

What a file says of itself is anybody's text: it is bounded, parsed as JSON and nothing else, and never trusted.
"""

import hashlib
import io
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

MAX_BYTES = 1 << 16  # of the comment
_MAX_VALUE = 1 << 14  # characters of one value as JSON, which is otherwise written as its hash
_MAX_CHUNKS = 1000
_MAX_DEPTH = 32  # of containers in each other
_SIGN = '{"software": "audiodiff '
_RIFF, _COMMENTED = ("WAV", "WAVEX"), ("FLAC", "OGG")  # libsndfile's names


def to_comment(metadata: Mapping[str, Any]) -> str:
    """Metadata as a comment, ASCII, empty for none; a long value, such as a book, is replaced by its SHA-256.

    Raises:
        ValueError: it is too long for a comment even so.
    """
    if not metadata:
        return ""
    comment = json.dumps({name: _shortened(value) for name, value in metadata.items()})
    if len(comment) > MAX_BYTES:
        raise ValueError(f"metadata of {len(comment)} characters, {MAX_BYTES} at most")
    return comment


def _shortened(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    if len(json.dumps(value)) <= _MAX_VALUE:
        return value
    return {"sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), "characters": len(text)}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of any file: what `to_comment` wrote into it, empty if there is none that can be read.

    The values are whatever the file says: JSON, at most `MAX_BYTES` long, of any type.
    """
    try:
        with open(path, "rb") as file:
            comment = _riff_comment(file) if file.read(4) == b"RIFF" else _other_comment(path)
        found = json.loads(comment) if len(comment) <= MAX_BYTES and comment.startswith(_SIGN) else {}
    except (OSError, ValueError, TypeError, RecursionError, soundfile.SoundFileError):  # TypeError: a name in .raw
        return {}
    return found if isinstance(found, dict) and not _is_deep(found) else {}


def _is_deep(value: Any) -> bool:
    """Whether containers are nested deeper than settings are: what prints them may recurse."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        containers = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for container in containers for item in container]
    return bool(level)


def _other_comment(path: str | Path) -> str:
    """The comment of a file that libsndfile reads."""
    with soundfile.SoundFile(os.fsencode(path)) as file:
        return file.comment


def _riff_comment(file: BinaryIO) -> str:
    """The first comment of a WAV; libsndfile reads none beyond 2 KiB."""
    file.seek(12)
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, size = struct.unpack("<4sI", head)
        if name == b"LIST" and size <= 2 * MAX_BYTES:
            content = io.BytesIO(file.read(size + size % 2))
            if content.read(4) == b"INFO":
                while len(head := content.read(8)) == 8:
                    name, size = struct.unpack("<4sI", head)
                    value = content.read(size + size % 2)
                    if name == b"ICMT":
                        return value[:size].split(b"\0")[0].decode("utf-8", "replace")
        else:
            file.seek(size + size % 2, os.SEEK_CUR)
    return ""


def store_comment(sound: soundfile.SoundFile, comment: str) -> None:
    """Store a comment in a file that libsndfile writes, before its first samples; not in a WAV."""
    if comment and sound.format in _COMMENTED:
        sound.comment = comment


def append_comment(file: BinaryIO, format: str, comment: str) -> None:
    """Append a comment to a WAV that libsndfile has closed; other formats have theirs from `store_comment`.

    Args:
        file: open for reading and writing.
        format: libsndfile's name of its format.
        comment: of `to_comment`, empty for none.
    """
    if not comment or format not in _RIFF:
        return
    text = comment.encode("ascii")
    value = text + b"\0" * (1 + (len(text) + 1) % 2)  # ends with a zero, and is of even length
    content = b"INFO" + struct.pack("<4sI", b"ICMT", len(value)) + value
    end = file.seek(0, os.SEEK_END)
    size = end + end % 2 + len(content)  # of the file without its first eight bytes
    if size >= 1 << 32:
        return  # a WAV of 4 GiB cannot state a longer size
    file.write(bytes(end % 2) + struct.pack("<4sI", b"LIST", len(content)) + content)
    file.seek(4)
    file.write(struct.pack("<I", size))
