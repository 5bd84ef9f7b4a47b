"""An open audio file, independent of the decoder: read in blocks, counted, and compared with its header."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audiodiff.audio.reading import pyav
from audiodiff.audio.reading.formats import CUT_OFF, EXTENSIONS, Format, format_of
from audiodiff.audio.reading.pyav import PyavDecoder
from audiodiff.audio.reading.shard import Member, find_member
from audiodiff.audio.reading.sndfile import SndfileDecoder
from audiodiff.errors import UserError
from audiodiff.extras import install_command

_BLOCK = 1 << 16  # samples of all channels
_LOWEST_RATE = 500  # Hz


class AudioFile:
    """An audio file that is read in slices; consecutive slices need no seeking.

    Slices are exact to the sample. If a format has no exact seeking (MP3, Ogg, most of what FFmpeg decodes), everything
    before a slice is decoded and dropped.

    Attributes:
        sample_rate: Hz.
        channels: number of channels.
        remark: what is unusual about the file, "" if nothing.

    Raises:
        UserError: missing, empty, not audio, or shorter than its header states.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._member = _member(self.path)
        if self._member is None:
            _check(self.path)
        self._decoder = _decoder(self.path, self._member)
        self._at = 0
        self.sample_rate, self.channels = self._decoder.sample_rate, self._decoder.channels
        self._most = max(_BLOCK // self.channels, 1)  # samples per channel that are decoded at once
        self.remark, self._samples = self._decoder.remark, self._decoder.samples
        if self.sample_rate < _LOWEST_RATE:
            self.close()
            raise UserError(
                self.path, f"is at {self.sample_rate} Hz, which is not a sample rate of audio", "resample it"
            )

    def __enter__(self) -> "AudioFile":
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    @property
    def may_be_cut(self) -> bool:
        """Whether its end seems to be missing, in a format that does not state its length."""
        return self.remark.endswith(CUT_OFF)

    @property
    def samples(self) -> int:
        """Samples per channel; the file is decoded if its header does not state them."""
        if self._samples is None:
            with AudioFile(self.path) as other:
                self._samples = sum(map(len, other.blocks()))
        return self._samples

    @property
    def seconds(self) -> float:
        """Approximate duration from the header; the file is decoded if the header has none."""
        if self._samples is None and self._decoder.promised > 0:
            return self._decoder.promised
        return self.samples / self.sample_rate

    def blocks(self, start: int = 0, samples: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples [start, start + samples) as float32 blocks (T, C), up to the end of the file.

        Raises:
            UserError: the file is shorter than its header states, or damaged.
        """
        self._seek(start)
        stop = None if samples is None else start + samples
        while stop is None or self._at < stop:
            block = self._read(self._most if stop is None else min(self._most, stop - self._at))
            if not len(block):
                break
            yield block

    def _seek(self, start: int) -> None:
        if isinstance(self._decoder, SndfileDecoder) and self._decoder.exact:
            if start != self._at and start < self.samples:
                self._guarded(self._decoder.seek, start)
                self._at = start
        elif start < self._at:
            self._decoder.close()
            self._decoder, self._at = _decoder(self.path, self._member), 0
        while self._at < start and len(self._read(min(start - self._at, self._most))):
            pass

    def _read(self, count: int) -> np.ndarray:
        if self._samples is not None:  # tags may follow the samples
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
        problem = f"is truncated or damaged: {there:.2f} of {promised:.2f} s can be read"
        raise UserError(self.path, problem, "copy it again")

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call a decoder and convert its errors."""
        try:
            return call(*arguments)
        except soundfile.LibsndfileError as error:
            raise UserError(self.path, f"is truncated or damaged ({error.error_string})", "copy it again") from error
        except OSError as error:
            raise UserError(self.path, f"cannot be read ({error.strerror or error})") from error


def _check(path: Path) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise UserError(
            path, "is a link to nothing" if path.is_symlink() else "no such file", "check the path"
        ) from error
    except ValueError as error:
        raise UserError(repr(str(path)), f"is not a valid file name ({error})", "check the path") from error
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})") from error
    if stat.S_ISDIR(status.st_mode):
        raise UserError(path, "is a folder, not an audio file", "name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(path, "is not a file that can be read more than once", "write it to a file first")
    if status.st_size == 0:
        raise UserError(path, "is empty (0 bytes)", "copy it again")
    if path.suffix.lower() not in EXTENSIONS:
        raise UserError(path, "is not an audio file of a known kind", f"expected {' '.join(EXTENSIONS)}")


def _decoder(path: Path, member: Member | None) -> SndfileDecoder | PyavDecoder:
    try:
        kind = None if member else format_of(path)
        if kind is None or kind.sndfile:
            try:
                return SndfileDecoder(path, kind, member)
            except soundfile.LibsndfileError as error:
                if kind is None:
                    problem = f"is not readable audio ({error.error_string})"
                    raise UserError(path, problem, "is its suffix right?") from error
                reason = f", which libsndfile does not read ({error.error_string})"
        else:
            reason = ""
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror or error})") from error
    if kind is not None and pyav.installed():
        try:
            return PyavDecoder(path, kind)
        except UserError as error:
            if not reason:
                raise
            raise UserError(path, f"is {_described(path, kind)}{reason}") from error
    problem = f"is {_described(path, kind)}{reason or ', which needs PyAV'}"
    raise UserError(path, problem, f"install it (`{install_command('av')}`), or convert the file to WAV or FLAC")


def _member(path: Path) -> Member | None:
    """The file of a tar shard that a path names; raises UserError."""
    try:
        return find_member(path)
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror or error})") from error


def _described(path: Path, kind: Format | None) -> str:
    """The format, and the suffix if it does not match."""
    suffix = path.suffix.lower()
    if kind is None:
        return "unknown audio"
    return kind.name if suffix in kind.suffixes else f"{kind.name}, not {suffix.lstrip('.').upper()}"
