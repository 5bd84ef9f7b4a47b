"""Decoding by libsndfile."""

import os
from pathlib import Path

import numpy as np
import soundfile

from audiodiff.audio.reading import chunks, flac, mpeg, ogg
from audiodiff.audio.reading.formats import FLAC, MPEG, OGG, Format
from audiodiff.audio.reading.window import Window
from audiodiff.errors import UserError

_UNKNOWN = 1 << 62  # samples; libsndfile states more where the header has none


class _Stream(soundfile.SoundFile):
    """Read on from where it stands: soundfile seeks behind every block, which not all formats can do."""

    def seekable(self) -> bool:
        """It is not sought in while it is read."""
        return False

    def rewind(self) -> None:
        """Go to the beginning, even from there: libmpg123 rounds otherwise before its first seek."""
        if super().seekable():
            self.seek(0)

    @property
    def exact(self) -> bool:
        """Seeking leads to the very sample: not where it depends on those before, nor where the place is guessed."""
        inexact = self.format in ("MP3", "OGG") or self.subtype.startswith(("MPEG", "DWVW"))
        return super().seekable() and not inexact and self.frames < _UNKNOWN


class SndfileDecoder:
    """One audio file: a stream, or several of one rate and number of channels, one behind the other.

    Attributes:
        sample_rate: Hz.
        channels: how many.
        samples: per channel; None where only decoding tells.
        promised: seconds that it should have, where only decoding tells the samples; 0 where nothing does.
        exact: whether `seek` works.
        remark: what is odd about the file, "" for nothing.

    Raises:
        UserError: truncated, or its streams differ.
        soundfile.LibsndfileError: it cannot be opened.
    """

    promised = 0.0

    def __init__(self, path: Path, kind: Format | None):
        sources, counts, self.remark = _sources(path, kind)
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
                raise UserError(path, "changes its sample rate or channels on the way", "split it")
        except BaseException:
            self.close()
            raise
        counted = [one.frames if count is None else count for one, count in zip(self._streams, counts, strict=True)]
        self.samples = sum(counted) if max(counted) < _UNKNOWN else None
        self._left = counted  # of each stream: behind its samples there may be a tag, which is none
        self.exact = len(self._streams) == 1 and first.exact

    def seek(self, sample: int) -> None:
        """Read from there next."""
        self._streams[0].seek(sample)
        self._left[0] = self.samples - sample

    def read(self, count: int) -> np.ndarray:
        """The next samples (T, C), float32, T <= count; none at the end."""
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
        """Close what was opened."""
        for file in (*self._streams, *self._windows):
            file.close()


def encoded(path: Path) -> str | bytes:
    """A path for soundfile, which by itself encodes none that is not UTF-8."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def _sources(path: Path, kind: Format | None) -> tuple[list[Path | Window], list[int | None], str]:
    """What to decode one behind the other, how many samples each has (None: as libsndfile says), and a remark or ""."""
    if kind is MPEG or (kind is None and path.suffix.lower() in MPEG.suffixes):  # there may be other bytes before it
        segments = mpeg.segments(path)
        if segments and not (len(segments) == 1 and segments[0].stated == segments[0].frames):
            windows, counts, remarks = zip(*(mpeg.checked(path, segment) for segment in segments), strict=True)
            return list(windows), list(counts), next(filter(None, remarks), "")
    if kind is None:  # by the suffix alone libsndfile would take anything for raw samples
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
