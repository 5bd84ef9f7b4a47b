"""Writes audio files: WAV of 16, 24 or 32 bits, FLAC of 16 or 24, and Ogg Vorbis; equal samples are equal bytes.

Dither is noise of a triangular distribution over two quantization steps, added before rounding: the error then has the
same mean and variance at every level, and quiet tones do not become harmonics of themselves. Source: S. P. Lipshitz,
R. A. Wannamaker, J. Vanderkooy, "Quantization and Dither: A Theoretical Survey", JAES 40(5), 1992.
"""

import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from audiodiff import files
from audiodiff.audio.encoding import BIT_DEPTHS as BIT_DEPTHS
from audiodiff.audio.encoding import CONTAINERS, FORMATS, SUBTYPES, Encoding
from audiodiff.audio.metadata import append_comment, store_comment, to_comment
from audiodiff.audio.ogg import fix_serial
from audiodiff.errors import UserError
from audiodiff.files import atomic_write
from audiodiff.remote import location

if TYPE_CHECKING:
    from audiodiff.audio.io import Audio

_BLOCK = 1 << 16  # samples at a time: libsndfile's Vorbis encoder takes its input on the stack


def write(
    path: str | Path,
    audio: "Audio",
    format: str | None = None,
    encoding: Encoding = Encoding(),  # noqa: B008, frozen
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write one signal, atomically; peaks above 1 are clipped, with a warning, where integers are written.

    Args:
        path: of the file.
        audio: (T,) or (C, T) with one or two channels, or a batch of one.
        format: one of `FORMATS`; None: by the suffix.
        encoding: how samples are stored.
        metadata: JSON that `audio.metadata.read_metadata` reads from the file.

    Raises:
        UserError: another format, one that lacks the bit depth, several signals or channels, an unsupported sample
            rate, or a full or read-only disk.
    """
    path = location(path)
    samples = audio.samples[0] if audio.samples.ndim == 3 and len(audio.samples) == 1 else audio.samples
    if samples.ndim != 1 and not (samples.ndim == 2 and len(samples) in (1, 2)):
        problem = f"cannot hold samples of shape {tuple(samples.shape)}, only one signal (T,) or (C, T) with C <= 2"
        raise UserError(path, problem, "write each clip to a file of its own")
    _write(path, [torch.atleast_2d(samples)], audio.sample_rate, format, encoding, metadata)


def write_chunks(
    path: str | Path,
    pieces: Iterable[Tensor],
    sample_rate: int,
    encoding: Encoding = Encoding(),  # noqa: B008, frozen
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write one signal that arrives in chunks (C, T), as `write` does; only one chunk is held in memory.

    Raises:
        UserError: as `write`.
    """
    _write(location(path), pieces, sample_rate, None, encoding, metadata)


def _write(
    path: Path,
    pieces: Iterable[Tensor],
    sample_rate: int,
    format: str | None,
    encoding: Encoding,
    metadata: Mapping[str, Any] | None,
) -> None:
    name = check_format(path, format, encoding)
    pieces, quantize = iter(pieces), _Quantizer(path, name, encoding)
    first, comment = next(pieces), to_comment(metadata or {})
    kind, subtype = CONTAINERS[name], SUBTYPES[name][encoding.bit_depth]
    with atomic_write(path) as temporary:
        with Disk(temporary, "w+") as disk:
            try:
                with SoundWriter(disk, sample_rate, len(first), subtype, kind, comment) as file:
                    blocks = map(quantize, chain([first], pieces))
                    for block in _blocks(blocks) if name == "ogg" else blocks:
                        file.write(block.numpy())
                        if disk.error:
                            break
            except soundfile.LibsndfileError as error:
                raise unwritable(path, sample_rate, error) from error
            append_comment(disk, kind, comment)
            if disk.error:
                raise disk.error
        if name == "ogg":
            fix_serial(temporary)


class SoundWriter:
    """A sound file that libsndfile writes; Ctrl-C waits for the end of each call.

    Args:
        disk: open, to write to.
        sample_rate: Hz.
        channels: number of channels.
        subtype, format: libsndfile's names.
        comment: as of `metadata.store_comment`.

    Raises:
        soundfile.LibsndfileError: there are no such files.
    """

    def __init__(self, disk: "Disk", sample_rate: int, channels: int, subtype: str, format: str, comment: str):
        with _uninterrupted():
            self._file = soundfile.SoundFile(disk, "w", sample_rate, channels, subtype, format=format)
            store_comment(self._file, comment)

    def __enter__(self) -> "SoundWriter":
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        with _uninterrupted():
            self._file.close()

    def write(self, block: np.ndarray) -> None:
        """Write samples (T, C)."""
        with _uninterrupted():
            self._file.write(block)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have Ctrl-C wait for the end of the block: what is raised while libsndfile calls back would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # ignored, or none of Python's
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if caught:
        signal.raise_signal(signal.SIGINT)


def _blocks(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same samples (T, C) in blocks of one length: what Vorbis stores depends on how they arrive."""
    held = None
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece])
        *whole, held = held.split(_BLOCK)
        yield from whole
    if held is not None:
        yield held


def check_writable(path: str | Path) -> None:
    """Check that audio can be written to a path, before the work that makes it; creates its folder.

    Raises:
        UserError: another format, the path is a folder, or its folder cannot be created or written to.
    """
    check_format(Path(path))
    files.check_writable(path)


def check_format(path: Path, format: str | None = None, encoding: Encoding = Encoding()) -> str:  # noqa: B008, frozen
    """The name of a format, or of that of the suffix.

    Raises:
        UserError: no such format, or one that lacks the bit depth.
    """
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in CONTAINERS:
        problem = f"{name!r} is not a format that audio is written in"
        raise UserError(path, problem, f"use {', '.join(f'.{known}' for known in FORMATS[:-1])} or .{FORMATS[-1]}")
    encoding.check(name)
    return name


def unwritable(path: Path, sample_rate: int, error: soundfile.LibsndfileError) -> UserError:
    """Error for a file that libsndfile does not write."""
    problem = f"cannot be written at {sample_rate} Hz ({error.error_string})"
    return UserError(path, problem, "resample it, take fewer channels (FLAC holds 8), or use .wav")


class Disk(FileIO):
    """A file for libsndfile to write to that stores the error of the disk.

    libsndfile does not report which error it was, and of the last block of a FLAC not even that there was one.
    """

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of `content`, or store the error and drop it."""
        rest = memoryview(content)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return len(content)


class _Quantizer:
    """Converts consecutive samples (C, T) of one file to those (T, C) that libsndfile takes."""

    def __init__(self, path: Path, format: str, encoding: Encoding):
        self.path, self.integers = path, format != "ogg" and encoding.bit_depth != "32f"
        self.bits = int(encoding.bit_depth.removesuffix("f"))
        # One seed for all files: a file depends on its samples alone.
        self.noise = np.random.default_rng(0) if encoding.dither and self.integers else None

    def __call__(self, samples: Tensor) -> Tensor:
        samples = samples.detach().cpu().float()
        if not samples.isfinite().all():
            raise UserError(self.path, "NaN or infinite samples cannot be written", "check the model's output")
        if not self.integers and self.bits == 32:
            return samples.T.contiguous()
        if samples.numel() and (peak := samples.abs().max().item()) > 1:
            warnings.warn(f"{self.path}: peak {peak:.2f} is above full scale and is clipped", stacklevel=4)
        if not self.integers:
            return samples.clamp(-1, 1).T.contiguous()
        full = 2 ** (self.bits - 1)
        steps = samples.T.double().clamp(-1, 1) * full
        if self.noise is not None:
            steps += torch.from_numpy(self.noise.random((*steps.shape, 2)).sum(-1) - 1)
        # Rounded here: libsndfile rounds for FLAC but floors for WAV, half a step too low on average.
        rounded = steps.round().clamp(-full, full - 1)
        return rounded.to(torch.int16) if self.bits == 16 else rounded.to(torch.int32) << 8
