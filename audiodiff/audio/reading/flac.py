"""FLAC: where its streams begin, since files that were joined hold several."""

import mmap
import os
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

_BEGINNING = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # up to the length of STREAMINFO, the first block of each


def streams(path: Path) -> list[tuple[int, int]]:
    """(start, stop) in bytes of the streams of a file.

    How long a stream is in bytes stands nowhere, so the file is searched: once, since crops of it should cost little.
    """
    status = os.stat(path)
    return _streams(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _streams(path: Path, size: int, changed: int) -> list[tuple[int, int]]:
    """`changed`: when the file was written."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        starts = [found.start() for found in _BEGINNING.finditer(content)]
    return list(pairwise([*starts, size]))
