"""Decoding by libsndfile."""

import os
from pathlib import Path

import numpy as np
import soundfile

from audiodiff.audio.reading import chunks, flac, mpeg, ogg
from audiodiff.audio.reading.formats import FLAC, MPEG, OGG, Format
from audiodiff.audio.reading.shard import Member
from audiodiff.audio.reading.window import Window
from audiodiff.errors import UserError

_UNKNOWN = 1 << 62  # samples; libsndfile returns more if the header has none


class _Stream(soundfile.SoundFile):
    """A file read sequentially; soundfile seeks after every block, which not all formats support."""

    def seekable(self) -> bool:
        """Prevents soundfile from seeking while reading."""
        return False

    def rewind(self) -> None:
        """Seek to the beginning, even from there: libmpg123 rounds differently before its first seek."""
        if super().seekable():
            self.seek(0)

    @property
    def exact(self) -> bool:
        """Whether seeking is exact: not if samples depend on those before, nor if positions are estimated."""
        inexact = self.format in ("MP3", "OGG") or self.subtype.startswith(("MPEG", "DWVW"))
        return super().seekable() and not inexact and self.frames < _UNKNOWN


class SndfileDecoder:
    """An audio file of one stream, or several consecutive ones of the same rate and number of channels.

    Args:
        path: the file.
        kind: its format; None: libsndfile finds it.
        member: of a tar shard, if the path names one.

    Attributes:
        sample_rate: Hz.
        channels: number of channels.
        samples: per channel; None if the file must be decoded to know.
        promised: stated duration in seconds if `samples` is None; 0 if unknown.
        exact: whether `seek` is supported.
        remark: what is unusual about the file, "" if nothing.

    Raises:
        UserError: truncated, or its streams differ.
        soundfile.LibsndfileError: it cannot be opened.
    """

    promised = 0.0

    def __init__(self, path: Path, kind: Format | None, member: Member | None = None):
        sources, counts, self.remark = _sources(path, kind, member)
        self._windows = [source for source in sources if isinstance(source, Window)]
        self._streams: list[_Stream] = []
        self._current = 0
        try:
            for source in sources:
                self._streams.append(_Stream(encoded(source) if isinstance(source, Path) else source, "r"))
                self._streams[-1].rewind()
            first = self._streams[0]
            self.sample_rate, self.channels = first.samplerate, first.channels
            if any((one.samplerate, one.channels) != (first.samplerate, first.channels) for one in self._streams):
                raise UserError(path, "changes its sample rate or channels", "split it")
        except BaseException:
            self.close()
            raise
        counted = [one.frames if count is None else count for one, count in zip(self._streams, counts, strict=True)]
        self.samples: int | None = sum(counted) if max(counted) < _UNKNOWN else None
        self._left = counted  # samples of each stream; tags may follow them
        self._total = sum(counted)
        self.exact = len(self._streams) == 1 and first.exact

    def seek(self, sample: int) -> None:
        """Continue reading at a sample."""
        self._streams[0].seek(sample)
        self._left[0] = self._total - sample

    def read(self, count: int) -> np.ndarray:
        """Read the next samples (T, C), float32, T <= count; empty at the end."""
        data = self._read(count)
        while not len(data) and self._current + 1 < len(self._streams):
            self._current += 1
            data = self._read(count)
        return data

    def _read(self, count: int) -> np.ndarray:
        count = min(count, self._left[self._current])
        data = self._streams[self._current].read(count, dtype="float32", always_2d=True)
        self._left[self._current] -= len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        for stream in self._streams:
            stream.close()
        for window in self._windows:
            window.close()


def encoded(path: Path) -> str | bytes:
    """A path for soundfile, which cannot encode names that are not UTF-8."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def _sources(
    path: Path, kind: Format | None, member: Member | None
) -> tuple[list[Path | Window], list[int | None], str]:
    """Consecutive sources to decode, their numbers of samples (None: as libsndfile states), and a remark."""
    if member is not None:
        return [Window(*member)], [None], ""
    if kind is MPEG or (kind is None and path.suffix.lower() in MPEG.suffixes):  # other bytes may precede it
        segments = mpeg.segments(path)
        if segments and not (len(segments) == 1 and segments[0].stated == segments[0].frames):
            windows, counts, remarks = zip(*(mpeg.checked(path, segment) for segment in segments), strict=True)
            return list(windows), list(counts), next(filter(None, remarks), "")
    if kind is None:  # by the suffix libsndfile would decode anything as raw samples
        return [Window(path, 0, path.stat().st_size)], [None], ""
    if kind is MPEG:
        return [path], [None], ""
    if kind is OGG:
        links, remark = ogg.links(path)
        if len(links) > 1:
            return [Window(path, link.start, link.stop) for link in links], [None] * len(links), remark
        return [path], [None], remark
    if kind is FLAC and len(parts := flac.streams(path)) > 1:
        return [Window(path, start, stop) for start, stop in parts], [None] * len(parts), ""
    source, remark = chunks.checked(path)
    return [source], [None], remark
