"""Sidecars: beside each `NAME.wav` that we made stands `NAME.wav.json`, which says how it came about.

A clip is there when its audio is, and its sidecar says all that is asked for now. An empty sidecar, a claim alone, is
laid before the audio is written and filled in after it: whenever the work stops, an audio file without a sidecar is
somebody else's, and is left alone.
"""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

from audiodiff.audio import io
from audiodiff.errors import UserError
from audiodiff.files import write_text


def make_folder(out: Path) -> None:
    """Make the folder that files go to.

    Raises:
        UserError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(out, f"cannot be made a folder ({error.strerror})", "choose another --out") from error


def check_writable(out: Path) -> None:
    """Refuse a folder that takes no files, as a UserError: before the work, not after it."""
    if not os.access(out, os.W_OK):
        raise UserError(out, "is read-only", "choose another --out, or allow writing to it")


def check_format(format: str) -> None:
    """Refuse a format of audio files that is not written, as a UserError."""
    if format not in io.FORMATS:
        raise UserError(f"format {format!r}", "is not written", f"choose one of {', '.join(io.FORMATS)}")


def sidecar_path(audio: Path) -> Path:
    """Where the sidecar of an audio file lies: NAME.wav.json."""
    return audio.with_name(audio.name + ".json")


def check_name(audio: Path) -> None:
    """Refuse the path of an audio file whose sidecar the file system has no room to name, as a UserError."""
    try:
        sidecar_path(audio).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            problem = f"a name of {len(os.fsencode(audio.name))} bytes leaves no room for its sidecar's (.json)"
            raise UserError(audio, problem, "shorten the input's name, or its folder's") from error


def read_sidecar(audio: Path, claim: dict) -> dict:
    """What the sidecar says of an audio file of our making (`claim`); nothing if the file is not there, or unfinished.

    Raises:
        UserError: the file or its sidecar is there and not of our making, or cannot be read.
    """
    sidecar = sidecar_path(audio)
    try:
        found = json.loads(sidecar.read_bytes()) if sidecar.is_file() else None
    except OSError as error:
        raise UserError(sidecar, f"cannot be read ({error.strerror})", "choose another --out") from error
    except (ValueError, RecursionError):
        found = None
    ours = isinstance(found, dict) and found.items() >= claim.items()
    for file in (audio, sidecar):
        if file.exists() and not ours:
            raise UserError(file, "exists and is not a rendering", "choose another --out or add --overwrite")
    return {name: found[name] for name in found.keys() - claim.keys()} if ours and audio.is_file() else {}


def write_with_sidecar(path: Path, write: Callable[[Path], None], claim: dict, told: dict) -> None:
    """Have audio written to a path, and its sidecar.

    Raises:
        UserError: as `write`.
    """
    sidecar = sidecar_path(path)
    write_text(sidecar, json.dumps(claim))
    try:
        write(path)
        write_text(sidecar, json.dumps(claim | told, indent=2) + "\n")
    finally:
        if not path.exists():
            sidecar.unlink(missing_ok=True)
