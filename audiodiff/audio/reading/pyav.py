"""Decoding by FFmpeg through PyAV, which is optional: containers such as MPEG-4, and codecs that libsndfile lacks."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from audiodiff.audio.reading.formats import Format
from audiodiff.audio.reading.window import Window
from audiodiff.errors import UserError, first_line

_MAX_CHANNELS = 8  # beyond them PyAV reads memory outside the frame
_SLACK_SECONDS = 0.5  # tolerance of a header's duration in complete files: codecs pad


def installed() -> bool:
    """Whether PyAV can be imported."""
    return find_spec("av") is not None


def _reason(error: Exception) -> str:
    """The message of an error, without FFmpeg's codes and names."""
    return getattr(error, "strerror", None) or first_line(error)


class PyavDecoder:
    """The first audio stream of a file; attributes and methods as of `SndfileDecoder`.

    The demuxer is that of the file's content; others, which might follow links, are never used.

    Raises:
        UserError: not readable, or without sound.
    """

    exact = False
    samples = None

    def __init__(self, path: Path, kind: Format):
        import av

        self._path, self._decoded, self._rest, self.remark = path, 0, np.zeros((0, 1), np.float32), ""
        self._errors = (av.error.FFmpegError, OSError, ValueError, MemoryError)
        # Not the path, which FFmpeg may interpret as a URL; nor a file, since PyAV prints errors of its seeking.
        self._file = Window(path, 0, path.stat().st_size)
        self._container: Any = None
        try:
            self._container = av.open(self._file, format=kind.demuxer)
            if not self._container.streams.audio:
                raise UserError(path, f"is {kind.name} without sound", "choose another file")
            stream = self._container.streams.audio[0]
            self.promised = float(stream.duration * stream.time_base) if stream.duration else 0.0
            if kind.demuxer == "matroska" and len(self._container.streams) == 1:  # has that of the whole file only
                self.promised = (self._container.duration or 0) / av.time_base
            self._frames = self._container.decode(stream)
            self._resampler: Any = av.AudioResampler(format="fltp")
            first = next(self._frames, None)
            if first is None:
                raise UserError(path, "holds 0 samples", "choose another file")
            # The header states half the rate for some codecs.
            self.sample_rate, self.channels = first.sample_rate, len(first.layout.channels)
            if self.channels > _MAX_CHANNELS:
                raise UserError(path, f"has {self.channels} channels", f"mix it to {_MAX_CHANNELS} or fewer")
            self._rest = self._samples(first)
        except self._errors as error:
            self.close()
            if isinstance(error, UserError):
                raise
            raise UserError(path, f"is not readable as {kind.name} ({_reason(error)})") from error

    def _samples(self, frame: Any) -> np.ndarray:
        """Samples of a frame (T, C); None flushes the last."""
        if frame is not None and (frame.sample_rate, len(frame.layout.channels)) != (self.sample_rate, self.channels):
            raise UserError(self._path, "changes its sample rate or channels", "split it")
        # Not to_ndarray, which may read beyond the planes and return too many channels.
        pieces = [
            np.stack([np.frombuffer(plane, np.float32, piece.samples) for plane in piece.planes[: self.channels]], 1)
            for piece in self._resampler.resample(frame)
        ]
        data = np.concatenate(pieces) if pieces else np.zeros((0, self.channels), np.float32)
        self._decoded += len(data)
        return data

    def read(self, count: int) -> np.ndarray:
        """Read the next samples (T, C), float32, T <= count; empty at the end.

        Raises:
            UserError: damaged, or shorter than its header states.
        """
        try:
            while not len(self._rest) and (frame := next(self._frames, None)) is not None:
                self._rest = self._samples(frame)
        except self._errors as error:
            if isinstance(error, UserError):
                raise
            raise UserError(self._path, f"is truncated or damaged ({_reason(error)})", "copy it again") from error
        data, self._rest = self._rest[:count], self._rest[count:]
        if not len(data) and (seconds := self._decoded / self.sample_rate) < self.promised - _SLACK_SECONDS:
            problem = f"is truncated: {seconds:.2f} of {self.promised:.2f} s can be read"
            raise UserError(self._path, problem, "copy it again")
        return data

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()
