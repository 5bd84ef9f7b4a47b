"""Atomic file writes, and locks on folders.

A file is written beside its target under a temporary name, then renamed.
"""

import errno
import hashlib
import itertools
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path, PurePath

from audiodiff.errors import UserError
from audiodiff.remote import is_remote, upload

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".audiodiff.lock"
_STALE_SECONDS = 24 * 3600  # after so long without a write a temporary file is removed
_FRESH_SECONDS = 300  # until then it is kept, even if its process seems to have ended
_MAX_NAME = 255  # bytes, on every common file system
_MAX_SUFFIX = 16  # bytes; longer ones are not file formats
_counter = itertools.count()  # threads may write the same file
_swept: set[str] = set()
_lock_files: set[int] = set()  # descriptors of this process's locks


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` if the block succeeds and is removed otherwise.

    The temporary name has the same suffix, since audio libraries choose the format by it, and a hash of the rest, so
    that it is never too long. Parent folders are created. The first call in a folder also removes temporary files of
    killed processes. A remote file (`audiodiff.remote`) is written to the folder for temporary files, then uploaded.

    Raises:
        UserError: the folder cannot be created or the file cannot be written (full, read-only, name too long).
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / f"file{path.suffix}"
            yield local
            upload(local, path)
        return
    path = Path(path)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _MAX_SUFFIX else ""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = path.with_name(f".{digest}.{_machine()}.{os.getpid()}.{next(_counter)}.tmp{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        fix = "shorten its name" if error.errno == errno.ENAMETOOLONG else "free some space or choose another folder"
        raise UserError(path, f"cannot be written ({error.strerror or error})", fix) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Check that a file can be written, before the work that makes it; creates its folder.

    Raises:
        UserError: the path is a folder, or its folder cannot be created or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(path, "is a folder", "give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(path, f"cannot be written ({error.strerror})", "choose another folder") from error


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically; bytes of file names that are not UTF-8 are kept."""
    write_pieces(path, [text])


def write_pieces(path: str | Path, pieces: Iterable[str]) -> None:
    """Write a text that arrives in pieces, as `write_text` does; only one piece is held in memory."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(pieces)


def is_safe_relative_path(name: str) -> bool:
    """Whether `name`, joined to a folder, stays below it: not absolute, not empty, without `..` and NUL."""
    path = PurePath(name)
    return "\0" not in name and not path.anchor and bool(path.parts) and ".." not in path.parts


def short_name(name: str, room: int = 32) -> str:
    """Shorten a file name that is too long for a file system; a hash of the whole name is appended.

    Args:
        name: file name without folder.
        room: bytes to reserve for a suffix.
    """
    encoded, longest = os.fsencode(name), _MAX_NAME - room
    if len(encoded) <= longest:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: longest - len(digest) - 1].decode(errors='ignore')}-{digest}"


def write_texts(contents: Mapping[Path, str]) -> None:
    """Write several UTF-8 files, all or none: all are written to temporary files before the first is renamed."""
    with ExitStack() as files:
        for path, text in contents.items():
            files.enter_context(atomic_write(path)).write_text(text, encoding="utf-8", errors="surrogateescape")


@contextmanager
def folder_lock(folder: str | Path, wait: bool = False) -> Iterator[None]:
    """Lock a folder, which is created if necessary, for this process until the block ends.

    A file `.audiodiff.lock` in the folder names the process that holds the lock. The operating system releases it when
    the process ends or is killed. A folder that was created for the lock and stays empty is removed. A folder without
    write permission is not locked; the first write raises the error. Nor is a remote one, whose store has no locks.

    Args:
        folder: the folder.
        wait: wait for another process that holds the lock, instead of raising.

    Warns:
        UserWarning: waiting for another process, or the file system does not support locks.

    Raises:
        UserError: another process holds the lock.
    """
    if is_remote(folder):
        yield
        return
    path, new = Path(folder) / LOCK, not Path(folder).exists()
    file = _open_locked(path, wait)
    if file is not None:
        _lock_files.add(file)
    try:
        yield
    finally:
        if file in _lock_files:
            _lock_files.discard(file)
            with suppress(OSError):
                if _is_at(path, file):
                    path.unlink()  # before the lock is released: no process may lock a file to be removed
                if new:
                    path.parent.rmdir()
            os.close(file)


def _close_inherited() -> None:
    """Close the locks of a forked process, such as a data loader worker, which may outlive its parent."""
    for file in _lock_files:
        os.close(file)
    _lock_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _open_locked(path: Path, wait: bool) -> int | None:
    """Descriptor of the lock file, locked; None if locking is not possible."""
    if fcntl is None:
        return None
    try:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = _open(path)
            except FileNotFoundError:  # another process has just removed the folder
                continue
            try:
                _flock(file, path, wait)
                if _is_at(path, file):  # otherwise another process has just removed it
                    since = time.strftime("%Y-%m-%d %H:%M:%S")
                    with suppress(OSError):  # another user's file, or a full disk: locked nevertheless
                        os.ftruncate(file, 0)
                        os.write(file, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)
    except OSError as error:
        if path.parent.is_dir() and os.access(path.parent, os.W_OK):
            problem = f"cannot be locked ({error.strerror}): start nothing else that writes there"
            warnings.warn(f"{path.parent}: {problem}", stacklevel=4)
        return None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError:
        if not path.exists():
            raise
        # Left by a killed process of another user: it can be locked without write permission.
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def _flock(file: int, path: Path, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = " ".join(os.pread(file, 1000, 0).decode(errors="replace").split()) or "another process"
        if not wait:
            fix = "wait until it has ended, or choose another folder"
            raise UserError(path.parent, f"is in use by {holder}", fix) from None
        warnings.warn(f"{path.parent}: waiting for {holder}, which is using it", stacklevel=5)
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _sweep(folder: Path) -> None:
    """Remove temporary files of killed processes in a folder, once per process."""
    key = os.path.abspath(folder)
    if key in _swept:
        return
    _swept.add(key)
    for path in folder.glob(".*.tmp*"):
        with suppress(OSError, ValueError):
            _, digest, machine, pid, _, _ = path.name.split(".", 5)
            longest = _STALE_SECONDS if _may_run(machine, int(pid)) else _FRESH_SECONDS
            if len(digest) == 16 and time.time() - path.stat().st_mtime > longest:
                path.unlink()


@cache
def _machine() -> str:
    """Short hash of the scope of process ids: the machine, and its container if there is one."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux only
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:6]


def _may_run(machine: str, pid: int) -> bool:
    """Whether a process may be running; assumed on other machines and on Windows."""
    if machine != _machine() or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
