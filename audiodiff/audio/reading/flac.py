"""FLAC: finds the streams of a file, since concatenated files have several."""

import mmap
import os
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

_BEGINNING = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # up to the length of STREAMINFO, the first block of each


def streams(path: Path) -> list[tuple[int, int]]:
    """(start, stop) in bytes of the streams of a file.

    The length of a stream is not stored, so the file is searched; the result is cached, since crops should be cheap.
    """
    status = os.stat(path)
    return _streams(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _streams(path: Path, size: int, modified: int) -> list[tuple[int, int]]:
    """As `streams`, cached until the file is modified."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        starts = [found.start() for found in _BEGINNING.finditer(content)]
    return list(pairwise([*starts, size]))
