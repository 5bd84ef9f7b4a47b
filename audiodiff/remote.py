"""Files elsewhere, by URLs such as s3://bucket/folder or gs://bucket/a.wav: fsspec's file systems, as paths.

A remote path is a `upath.UPath`, which has the interface of `pathlib`; everything else is a `pathlib.Path`. What needs
files on a disk works on copies: `local_copy` of what is read, and `files.atomic_write` uploads what is written as a
whole. Object stores have no locks: only one run may write to a folder.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from audiodiff.errors import UserError, first_line
from audiodiff.extras import load_module


def location(name: str | PurePath | Any) -> Path:
    """The path of a name: a remote one of a URL.

    Raises:
        UserError: no such file system, its package is not installed, or the root of a store.
    """
    if not isinstance(name, str) or "://" not in name:
        return Path(name) if isinstance(name, str) else name
    upath = load_module("upath")
    try:
        path = upath.UPath(name)
        _ = path.fs  # of an unknown scheme, or one whose package is missing
    except (ValueError, ImportError) as error:
        raise UserError(name, f"cannot be opened ({first_line(error)})", "use s3:// or gs://, or install it") from error
    if is_remote(path) and not path.path.strip("/"):
        raise UserError(name, "names no bucket", "write it as s3://bucket/folder")
    return path


def is_remote(path: Any) -> bool:
    """Whether a path is one of fsspec."""
    return not isinstance(path, str | PurePath)


def is_file(path: Any) -> bool:
    """Whether there is a file; unlike pathlib, it answers for names that no file can have.

    Raises:
        UserError: a remote file system cannot be reached.
    """
    return _answers(path, "is_file", os.path.isfile)


def is_folder(path: Any) -> bool:
    """Whether there is a folder; as `is_file`."""
    return _answers(path, "is_dir", os.path.isdir)


def exists(path: Any) -> bool:
    """Whether there is anything; as `is_file`."""
    return _answers(path, "exists", os.path.exists)


def _answers(path: Any, question: str, local: Callable[[Any], bool]) -> bool:
    if not is_remote(path):
        return local(path)
    with errors_of(path):
        return getattr(path, question)()


def is_path(value: Any) -> bool:
    """Whether a value is a path, local or remote."""
    return hasattr(value, "with_suffix")


def beside(file: Path, name: str) -> Path:
    """The path of a name that stands in a file: relative to it, absolute, or a URL."""
    return location(name) if "://" in name else file.parent / name


@contextmanager
def errors_of(path: Any) -> Iterator[None]:
    """Raise the errors of a remote file system, of whatever type, as a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be reached ({first_line(error)})"
        raise UserError(path, problem, "check its name, and the credentials of the store") from error


def fetch(path: Any, folder: Path) -> Path:
    """A copy of a remote file in a local folder, under its name.

    Raises:
        UserError: it cannot be read.
    """
    local = folder / path.name
    with errors_of(path):
        path.fs.get_file(path.path, str(local))
    return local


@contextmanager
def local_copy(path: Any) -> Iterator[Path]:
    """The path of a file on this machine: itself, or a copy that the end of the block deletes; raises as `fetch`."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield fetch(path, Path(folder))


def upload(local: Path, path: Any) -> None:
    """Write a remote file as a whole.

    Raises:
        UserError: it cannot be written.
    """
    with errors_of(path):
        if path.protocol == "memory":  # object stores have no folders, and none may create a bucket
            path.fs.makedirs(path.parent.path, exist_ok=True)
        path.fs.put_file(str(local), path.path)
