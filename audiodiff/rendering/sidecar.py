"""Sidecars: beside each `NAME.wav` that was rendered or generated stands `NAME.wav.json`, which records how.

A file counts as finished when its audio exists and its sidecar records the requested settings. Before the audio is
written, the sidecar names its command alone; it is completed afterwards. Whenever the work stops, an audio file without
a sidecar is therefore somebody else's and is left alone.
"""

import errno
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from audiodiff import __version__
from audiodiff.errors import UserError
from audiodiff.files import write_text
from audiodiff.options import options_of
from audiodiff.pipelines.guidance_options import GuideModels
from audiodiff.pipelines.pipeline import Pipeline
from audiodiff.remote import is_remote

VERSION = 2
# Entry names of version 1, and today's.
RENAMED = {
    "nfe": "steps",
    "guidance": "guidance_scale",
    "peak": "peak_level",
    "after": "continue_from",
    "like": "init_audio",
    "strength": "init_noise_level",
}


class SettingsMismatch(UserError):
    """A file exists that was written with other settings."""


def create_folder(out: Path) -> None:
    """Create the output folder.

    Raises:
        UserError: it cannot be created.
    """
    if is_remote(out):
        return  # stores have no folders
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(out, f"cannot be created ({error.strerror})", "choose another --out") from error


def check_writable(out: Path) -> None:
    """Check that the output folder takes files, before the work.

    Raises:
        UserError: it is read-only.
    """
    if not is_remote(out) and not os.access(out, os.W_OK):
        raise UserError(out, "is read-only", "choose another --out, or allow writing to it")


def sidecar_path(audio: Path) -> Path:
    """Path of the sidecar of an audio file: NAME.wav.json."""
    return audio.with_name(audio.name + ".json")


def check_name(audio: Path) -> None:
    """Check that the file system has room for the name of the sidecar.

    Raises:
        UserError: the name is too long.
    """
    if is_remote(audio):
        return
    try:
        sidecar_path(audio).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            problem = f"a name of {len(os.fsencode(audio.name))} bytes leaves no room for its sidecar's (.json)"
            raise UserError(audio, problem, "shorten the input's name, or its folder's") from error


def describe(command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a file: what wrote it, and those settings that decide what it holds which are set.

    Args:
        command: such as "audiodiff render".
        settings: as JSON.
    """
    given = {name: value for name, value in settings.items() if value not in (None, "", [], ())}
    return {"software": f"audiodiff {__version__}", "command": command, **given}


def precision_of(pipeline: Pipeline) -> dict[str, Any]:
    """The precision of a pipeline for the metadata of a file, unless it is the usual one."""
    return {} if pipeline.precision == "float32" else {"precision": pipeline.precision}


def folders_of(pipeline: Pipeline, options: Any) -> dict[str, Any]:
    """The sidecar's entry of where the models are that its hashes stand for.

    Args:
        pipeline: the model.
        options: adapters and guides are among their values.
    """
    found = {pipeline.model_hash: pipeline.folder}
    if isinstance(vocoder := getattr(pipeline, "vocoder", None), Pipeline):
        found[vocoder.model_hash] = vocoder.folder
    for one in getattr(options, "adapters", ()):
        found[one.adapter.digest] = os.path.abspath(one.adapter.folder)
    for name in options_of(GuideModels):
        if (guide := getattr(options, name, None)) is not None:
            found[guide.digest] = guide.folder
    return {"folders": {digest: folder for digest, folder in found.items() if digest and folder}}


def read_sidecar(audio: Path, command: str) -> dict:
    """Read the sidecar of an audio file, under today's entry names; empty if the file is missing or unfinished.

    Args:
        audio: path of the audio file.
        command: that wrote it, such as "audiodiff render".

    Raises:
        UserError: the file or its sidecar exists and was not written by this command, or cannot be read.
    """
    sidecar = sidecar_path(audio)
    try:
        found = json.loads(sidecar.read_bytes()) if sidecar.is_file() else None
    except OSError as error:
        raise UserError(sidecar, f"cannot be read ({error.strerror})", "choose another --out") from error
    except (ValueError, RecursionError):
        found = None
    found = found if isinstance(found, dict) else {}
    ours = found.pop("sidecar", None) == command and found.pop("version", None) in (1, VERSION)
    for file in (audio, sidecar):
        if file.exists() and not ours:
            raise UserError(file, f"exists and is not from `{command}`", "choose another --out or add --overwrite")
    return under_todays_names(found) if ours and audio.is_file() else {}


def under_todays_names(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of any version; a peak level of None, which earlier ones wrote, is 0."""
    found = {RENAMED.get(name, name): value for name, value in entries.items()}
    return found | ({"peak_level": 0.0} if found.get("peak_level", 0.0) is None else {})


def read_matching(audio: Path, command: str, settings: dict, renewed: Collection[str] = ()) -> dict:
    """Read the sidecar of an audio file that was written with these settings; empty if it is to be written.

    Args:
        audio: path of the audio file.
        command: that wrote it.
        settings: entries that must be equal; an entry that is None may be missing.
        renewed: those of them whose change makes the file outdated: it is to be written again.

    Raises:
        SettingsMismatch: it was written with other settings.
        UserError: as `read_sidecar`.
    """
    found = read_sidecar(audio, command)
    different = [name for name, value in settings.items() if found and found.get(name) != value]
    for name in different:
        if name not in renewed:
            before, now = (str(value)[:40] for value in (found.get(name), settings[name]))
            problem = f"was made with another {name.replace('_', ' ')} ({before}, not {now})"
            raise SettingsMismatch(audio, problem, "choose another --out or add --overwrite")
    return {} if different else found


def write_with_sidecar(path: Path, write: Callable[[Path], None], command: str, entries: dict) -> None:
    """Write an audio file and its sidecar.

    Args:
        path: of the audio file.
        write: writes the audio to a path.
        command: that writes it.
        entries: of the sidecar.

    Raises:
        UserError: as `write`.
    """
    sidecar, head = sidecar_path(path), {"sidecar": command, "version": VERSION}
    write_text(sidecar, json.dumps(head))
    try:
        write(path)
        write_text(sidecar, json.dumps(head | entries, indent=2) + "\n")
    finally:
        if not path.exists():
            sidecar.unlink(missing_ok=True)
