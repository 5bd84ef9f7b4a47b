"""Recursive search of a folder, following links."""

import os
from collections.abc import Collection
from pathlib import Path


def files_below(root: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with one of these suffixes (lower case), sorted, without hidden ones (`.name`).

    Every folder is searched once, so that circular links are allowed: under its own path if it is below `root`, else
    under that of the first link to it. Broken links and folders without permission are included; `obstacle` says why
    they cannot be read.
    """
    found: list[Path] = []
    folders, links = [Path(root)], list[Path]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        folder = folders.pop() if folders else links.pop(links.index(min(links)))
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(folder))
        except OSError:
            found.append(folder)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(folder / entry.name)
            elif os.path.splitext(entry.name)[1].lower() in suffixes and not _is_special(entry):
                found.append(folder / entry.name)
    return sorted(found)


def obstacle(path: Path) -> str:
    """Why an entry of `files_below` cannot be read; "" if it can."""
    if path.is_dir():
        return "is a folder that may not be searched"
    return "" if path.exists() else "is a link to nothing"


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_special(entry: os.DirEntry) -> bool:
    """Whether a path is a socket, a pipe or a device."""
    try:
        return not entry.is_file() and not entry.is_symlink()
    except OSError:
        return False
