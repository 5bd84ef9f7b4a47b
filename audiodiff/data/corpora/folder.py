"""Audio files below a folder as recordings; very long files become several."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from audiodiff.audio.io import EXTENSIONS, Audio, AudioFile, read
from audiodiff.audio.reading.folder import files_below, obstacle
from audiodiff.data.corpora.corpus import Recording
from audiodiff.errors import UserError

LONGEST_SECONDS = 1200.0  # of one clip


def recording(key: str, path: Path, text: str = "", speaker: str = "", **others: Any) -> Recording:
    """The recording in a file.

    Args:
        key, text, speaker: as in `Recording`.
        path: the file.
        others: further fields of `Recording`; `read` reads the whole file by default.
    """
    modified = path.stat().st_mtime_ns if os.path.exists(path) else 0  # Path.exists fails for names that are too long
    return Recording(
        utf8_name(key), others.pop("read", partial(read, path)), text, utf8_name(speaker), modified, **others
    )


def utf8_name(name: str) -> str:
    """A file name as valid UTF-8: undecodable bytes become `?`."""
    return name.encode(errors="replace").decode()


def audio_files(root: Path) -> dict[str, Path]:
    """All audio files below `root` by key: the path without its suffix, as UTF-8.

    Files that differ only in the suffix, such as a.mp3 and a.wav, keep it in their keys, so that no key moves to
    another file when files are added. Keys that still collide, of names that are not UTF-8, get a hash. Links are
    followed, each folder is searched once; broken links and folders without permission are listed too.

    Raises:
        UserError: no such folder, or no audio.
    """
    if not root.is_dir():
        raise UserError(root, "no such folder", "check the path")
    paths = files_below(root, EXTENSIONS)
    if not paths:
        raise UserError(root, "holds no audio", f"expected files ending in {' '.join(EXTENSIONS)}")
    keys = {path: utf8_name(path.relative_to(root).with_suffix("").as_posix()) for path in paths}
    suffixes = {path: path.suffix.replace(".", "_") for path in paths}
    digests = {path: f"-{hashlib.sha256(os.fsencode(path.relative_to(root))).hexdigest()[:12]}" for path in paths}
    for endings in (suffixes, digests):
        uses = Counter(keys.values())
        keys = {path: key + endings[path] if uses[key] > 1 else key for path, key in keys.items()}
    return {key: path for path, key in keys.items()}


def file_recording(key: str, path: Path, root: Path, text: str = "", **others: Any) -> Recording:
    """The recording in a file below `root`; its first folder is the speaker."""
    first, *rest = path.relative_to(root).parts
    return recording(key, path, text, first if rest else "", exclude_reason=obstacle(path), **others)


def split_long(whole: Recording, path: Path, read_part: Callable[..., Audio]) -> list[Recording]:
    """A recording, split into parts if it is very long, so that hours of samples are never in memory at once.

    Args:
        whole: the recording.
        path: its file.
        read_part: reads a part, `read_part(file, start=..., samples=...)`.
    """
    if whole.exclude_reason:
        return [whole]
    try:
        with AudioFile(path) as file:
            if file.seconds <= LONGEST_SECONDS / 2:  # an estimate
                return [whole]
            samples, step = file.samples, round(LONGEST_SECONDS * file.sample_rate)
    except Exception:
        return [whole]  # reading it will raise the error
    if samples <= step:
        return [whole]
    reader = _SequentialReader(path, read_part, samples)
    return [
        replace(
            whole,
            key=f"{whole.key}/part{number:03d}",
            read=partial(reader, start, step),
            piece=whole.piece or whole.key,
        )
        for number, start in enumerate(range(0, samples, step))
    ]


class _SequentialReader:
    """Reads a long file part by part; in order, it is decoded only once, whatever its format.

    The file stays open from one part to the next. At most one file is open at a time.
    """

    _open: ClassVar["_SequentialReader | None"] = None

    def __init__(self, path: Path, read_part: Callable[..., Audio], total: int):
        self.path, self.read_part, self.total = path, read_part, total
        self.file: AudioFile | None = None

    def __call__(self, start: int, samples: int) -> Audio:
        if _SequentialReader._open is not self:
            _SequentialReader.close()
            self.file, _SequentialReader._open = AudioFile(self.path), self
        last = True
        try:
            audio = self.read_part(self.file, start=start, samples=samples)
            last = start + samples >= self.total
            return audio
        finally:
            if last:
                _SequentialReader.close()

    @classmethod
    def close(cls) -> None:
        """Close the open file, if there is one."""
        if cls._open is not None:
            if cls._open.file is not None:
                cls._open.file.close()
            cls._open.file, cls._open = None, None
