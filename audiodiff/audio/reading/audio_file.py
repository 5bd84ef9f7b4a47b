"""An opened audio file, whatever decodes it: read block by block, counted, and compared with what its header says."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from audiodiff.audio.reading import pyav
from audiodiff.audio.reading.formats import CUT_OFF, EXTENSIONS, Format, format_of
from audiodiff.audio.reading.pyav import PyavDecoder
from audiodiff.audio.reading.sndfile import SndfileDecoder
from audiodiff.errors import UserError

_BLOCK = 1 << 16  # samples of all channels
_LOWEST_RATE = 500  # Hz


class AudioFile:
    """An audio file to be read in pieces; going on where the last piece ended costs nothing.

    Pieces are slices of the whole, sample by sample. Where a format cannot be sought in exactly (MP3, Ogg, most of
    what FFmpeg decodes), what comes before a piece is decoded and dropped.

    Attributes:
        sample_rate: Hz.
        channels: how many.
        remark: what is odd about the file, "" for nothing.

    Raises:
        UserError: missing, empty, not audio, or shorter than its header says.
    """

    def __init__(self, path: str | Path):
        self.path = _checked(Path(path))
        self._decoder = _decoder(self.path)
        self._at = 0
        self.sample_rate, self.channels = self._decoder.sample_rate, self._decoder.channels
        self._most = max(_BLOCK // self.channels, 1)  # samples per channel that are decoded at once
        self.remark, self._samples = self._decoder.remark, self._decoder.samples
        if self.sample_rate < _LOWEST_RATE:
            self.close()
            raise UserError(self.path, f"is at {self.sample_rate} Hz, which is no sample rate of audio", "resample it")

    def __enter__(self) -> "AudioFile":
        """Itself."""
        return self

    def __exit__(self, *_) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close it."""
        self._decoder.close()

    @property
    def may_be_cut(self) -> bool:
        """Whether it ends as if its end were missing, in a format that does not say how long it is."""
        return self.remark.endswith(CUT_OFF)

    @property
    def samples(self) -> int:
        """Per channel; the file is decoded once where its header does not say."""
        if self._samples is None:
            with AudioFile(self.path) as other:
                self._samples = sum(map(len, other.blocks()))
        return self._samples

    @property
    def seconds(self) -> float:
        """About how long: as the header says; where it does not, the file is decoded once."""
        if self._samples is None and self._decoder.promised > 0:
            return self._decoder.promised
        return self.samples / self.sample_rate

    def blocks(self, start: int = 0, samples: int | None = None) -> Iterator[np.ndarray]:
        """The samples [start, start + samples), all if None, as float32 blocks (T, C), fewer where the file ends.

        Raises:
            UserError: the file ends before its header says, or is damaged.
        """
        self._go_to(start)
        stop = None if samples is None else start + samples
        while stop is None or self._at < stop:
            block = self._read(self._most if stop is None else min(self._most, stop - self._at))
            if not len(block):
                break
            yield block

    def _go_to(self, start: int) -> None:
        if self._decoder.exact:
            if start != self._at and start < self.samples:
                self._guarded(self._decoder.seek, start)
                self._at = start
        elif start < self._at:
            self._decoder.close()
            self._decoder, self._at = _decoder(self.path), 0
        while self._at < start and len(self._read(min(start - self._at, self._most))):
            pass

    def _read(self, count: int) -> np.ndarray:
        if self._samples is not None:  # beyond them there may be tags, which are no samples
            count = min(count, self._samples - self._at)
        if count <= 0:
            return np.zeros((0, self.channels), np.float32)
        block = self._guarded(self._decoder.read, count)
        self._at += len(block)
        if not len(block):
            if self._samples is None:
                self._samples = self._at
            if self._at < self._samples:
                self._short()
        return block

    def _short(self) -> None:
        there, promised = (count / self.sample_rate for count in (self._at, self._samples))
        raise UserError(self.path, f"is truncated or damaged: {there:.2f} of {promised:.2f} s can be read")

    def _guarded(self, work, *arguments):
        try:
            return work(*arguments)
        except soundfile.LibsndfileError as error:
            raise UserError(self.path, f"is truncated or damaged ({error.error_string})") from error
        except OSError as error:
            raise UserError(self.path, f"cannot be read ({error.strerror or error})") from error


def _checked(path: Path) -> Path:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise UserError(path, "is a link to nothing" if path.is_symlink() else "no such file") from error
    except ValueError as error:
        raise UserError(repr(str(path)), f"cannot be a file's name ({error})") from error
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})") from error
    if stat.S_ISDIR(status.st_mode):
        raise UserError(path, "is a folder, not an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(path, "is not a file that can be read more than once", "write it to a file first")
    if status.st_size == 0:
        raise UserError(path, "is empty (0 bytes)")
    if path.suffix.lower() not in EXTENSIONS:
        raise UserError(path, "is not an audio file of a known kind", f"expected {' '.join(EXTENSIONS)}")
    return path


def _decoder(path: Path) -> SndfileDecoder | PyavDecoder:
    try:
        kind = format_of(path)
        if kind is None or kind.sndfile:
            try:
                return SndfileDecoder(path, kind)
            except soundfile.LibsndfileError as error:
                if kind is None:
                    problem = f"is not readable audio ({error.error_string})"
                    raise UserError(path, problem, "is its suffix right?") from error
                reason = f", which libsndfile does not read ({error.error_string})"
        else:
            reason = ""
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror or error})") from error
    if pyav.installed():
        try:
            return PyavDecoder(path, kind)
        except UserError as error:
            if not reason:
                raise
            raise UserError(path, f"is {_named(path, kind)}{reason}") from error
    problem = f"is {_named(path, kind)}{reason or ', which needs PyAV'}"
    raise UserError(path, problem, f"install it (`{pyav.INSTALL}`), or convert the file to WAV or FLAC")


def _named(path: Path, kind: Format) -> str:
    """The format, and against what its suffix says."""
    suffix = path.suffix.lower()
    return kind.name if suffix in kind.suffixes else f"{kind.name}, not {suffix.lstrip('.').upper()}"
