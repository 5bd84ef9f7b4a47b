"""Copies of recordings in a folder of their own, which a bench trains on or measures with."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from audiodiff.data.manifest import Clip, Manifest


def copy_clips(chosen: Iterable[tuple[Path, Clip]], folder: Path) -> Manifest:
    """Copy recordings to a folder, and save their manifest there.

    Args:
        chosen: the file of each recording, and the clip that its copy is: the file is called by the last part of its
            id, which must differ from all others.
        folder: created if it does not exist.

    Raises:
        ValueError: two copies have one name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clips: dict[str, Clip] = {}
    for file, clip in chosen:
        name = f"{clip.id.rpartition('/')[2]}{file.suffix}"
        if name in clips:
            raise ValueError(f"two clips are called {name}")
        shutil.copy(file, folder / name)
        clips[name] = replace(clip, path=name)
    manifest = Manifest(tuple(clips.values()), folder)
    manifest.save()
    return manifest
