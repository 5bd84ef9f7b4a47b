"""Shards: the clips of a manifest in tar archives of some hundred megabytes, for corpora of thousands of hours.

File systems of clusters read a few large files fast and millions of small ones slowly. A data folder in shards is a
manifest like any other, whose clips are at `00000.tar/ID.flac` (`audio.reading.shard`). Each shard has clips of one
split, chosen by a hash of their ids, so that each is a random sample of the corpus. A pass of training takes some
shards at a time in random order, and their clips in random order (`data.dataset`). The order is a function of the seed
and the draw, so a run resumes exactly, also within a shard.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from audiodiff.audio.reading.shard import SUFFIX, archive_of
from audiodiff.data.manifest import SPLITS, Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.files import atomic_write, folder_lock

MEGABYTE = 1_000_000


def write_shards(manifest: Manifest, out: Path, megabytes: float) -> Manifest:
    """Copy the clips of a manifest into shards, with a manifest of their own.

    Equal clips make equal archives.

    Args:
        manifest: of clips in files of their own.
        out: folder of the shards.
        megabytes: size of a shard, which its last clip exceeds; a longer clip is a shard of its own.

    Raises:
        UserError: the clips are in shards already, or the folder cannot be written to.
    """
    if any(archive_of(manifest.path(clip)) is not None for clip in manifest.clips):
        raise UserError(manifest.root, "is in shards already", "prepare the data without --shards first")
    written: list[Clip] = []
    with folder_lock(out, wait=True):
        for number, clips in enumerate(_groups(manifest, megabytes * MEGABYTE)):
            archive = out / f"{number:05}{SUFFIX}"
            _write_archive(archive, manifest, clips)
            written += [replace(clip, path=f"{archive.name}/{_member(clip)}") for clip in clips]
        sharded = Manifest(tuple(sorted(written, key=lambda clip: clip.id)), out, manifest.split_by)
        sharded.save()
        known = {archive_of(sharded.path(clip)) for clip in written}
        for leftover in set(out.glob(f"*{SUFFIX}")) - known:
            leftover.unlink()
    return sharded


def shard_numbers(clips: Sequence[Clip]) -> list[int] | None:
    """The shard of each clip, counted from 0; None if not all are in shards."""
    archives = [archive_of(Path(clip.path)) for clip in clips]
    if None in archives:
        return None
    numbers = {archive: number for number, archive in enumerate(sorted(set(map(str, archives))))}
    return [numbers[str(archive)] for archive in archives]


def _groups(manifest: Manifest, size: float) -> Iterator[list[Clip]]:
    """The clips of each shard."""
    for split in SPLITS:
        group: list[Clip] = []
        total = 0
        for clip in sorted(manifest.with_splits(split).clips, key=_key):
            group.append(clip)
            total += manifest.path(clip).stat().st_size
            if total >= size:
                yield group
                group, total = [], 0
        if group:
            yield group


def _key(clip: Clip) -> str:
    return hashlib.sha256(clip.id.encode()).hexdigest()


def _member(clip: Clip) -> str:
    return f"{clip.id}{Path(clip.path).suffix}"


def _write_archive(archive: Path, manifest: Manifest, clips: Iterable[Clip]) -> None:
    """Write an archive of clips, without times and owners: equal clips make equal bytes."""
    with atomic_write(archive) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for clip in clips:
            content = manifest.path(clip).read_bytes()
            entry = tarfile.TarInfo(_member(clip))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
