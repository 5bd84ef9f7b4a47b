"""Members of tar shards: `FOLDER/00000.tar/NAME` is the file NAME within the archive FOLDER/00000.tar.

An archive without compression holds its files as they are, so a member is read as a part of the archive, and any of its
samples by seeking. Nothing is ever unpacked. The headers of an archive are read once, and the system is asked to fetch
the archive as a whole: from then on reading it is sequential for the disk, whatever the order of its members.
"""

import os
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from audiodiff.audio.reading.window import Window

SUFFIX = ".tar"


class Member(NamedTuple):
    """The bytes [start, stop) of an archive."""

    archive: Path
    start: int
    stop: int


def archive_of(path: Path) -> Path | None:
    """The archive that a path leads through; None of other paths."""
    return next((parent for parent in path.parents if parent.suffix == SUFFIX), None)


def find_member(path: Path) -> Member | None:
    """The member of an archive that a path names; None where it leads through no archive, or not to a file of it.

    Raises:
        OSError: the archive cannot be read.
    """
    archive = archive_of(path)
    if archive is None or not archive.is_file():
        return None
    status = archive.stat()
    found = _index(archive, status.st_mtime_ns, status.st_size).get(path.relative_to(archive).as_posix())
    return None if found is None else Member(archive, *found)


def open_file(path: Path) -> BinaryIO:
    """Open a file to read its bytes, or a member of an archive; raises OSError."""
    member = find_member(path)
    return path.open("rb") if member is None else cast(BinaryIO, Window(*member))


@lru_cache(maxsize=64)
def _index(archive: Path, modified: int, size: int) -> dict[str, tuple[int, int]]:
    """Start and stop in bytes of each file of an archive; none of one that is damaged."""
    found: dict[str, tuple[int, int]] = {}
    with open(archive, "rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        try:
            with tarfile.open(fileobj=file, mode="r:") as members:
                for member in members:
                    stop = member.offset_data + member.size
                    if member.isreg() and stop <= size:
                        found[member.name] = member.offset_data, stop
        except tarfile.TarError:
            return {}
    return found
