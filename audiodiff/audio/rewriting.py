"""Rewriting an audio file with parts replaced: every other sample is that of the file, bit for bit.

Files of a format that keeps every sample (WAV, FLAC, AIFF and others, of integers or floating point) are copied in
their own encoding, block by block. What other files (MP3, Ogg, MPEG-4) decode to is written as 32-bit floating point,
which holds it exactly.
"""

import math
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from audiodiff.audio.metadata import append_comment, to_comment
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.watermark import embed
from audiodiff.audio.writing import Disk, SoundWriter, unwritable
from audiodiff.errors import UserError
from audiodiff.files import atomic_write

_BLOCK = 1 << 16
# Bits of the encodings that hold integers; those of the companded ones after decoding.
_INTEGERS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ULAW": 16, "ALAW": 16}
_FLOATS = ("FLOAT", "DOUBLE")
_FLAC_CHANNELS = 8
_SUFFIXES = {".wav": "WAV", ".flac": "FLAC"}


class Replacement(NamedTuple):
    """Samples (C, stop - start) in place of [start, stop) of a file; before 0 and beyond the end they are added."""

    start: int
    stop: int
    samples: Tensor


def watermarked(replacements: Sequence[Replacement], sample_rate: int) -> list[Replacement]:
    """The same with the watermark of `audio.watermark`, at the same times as if all of the file had it."""
    return [part._replace(samples=embed(part.samples, sample_rate, part.start)) for part in replacements]


class Encoding(NamedTuple):
    """How a file is written: libsndfile's names, and whether samples are copied as they are encoded."""

    format: str
    subtype: str
    copied: bool

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest sample that it holds, where full scale is 1."""
        if (bits := _INTEGERS.get(self.subtype)) is None:
            return -math.inf, math.inf
        step = 2.0 ** (1 - bits)
        # libsndfile takes the negative of the lowest sample of a companded file.
        return step - 1 if self.subtype.endswith("LAW") else -1.0, 1 - step


def encoding_for(source: AudioFile, target: Path) -> Encoding:
    """The encoding of a file that is to hold all samples of another one.

    Args:
        source: the file that is read.
        target: the file that is to be written; its suffix decides the format: that of the source, WAV or FLAC.

    Raises:
        UserError: the format does not hold the samples of the source.
    """
    found = _native(source)
    suffix = target.suffix.lower()
    if found is None:
        found = Encoding("WAV", "FLOAT", False)
    if suffix == source.path.suffix.lower() and found.copied:
        return found
    if suffix not in _SUFFIXES:
        raise UserError(target, f"{suffix.lstrip('.')!r} is not a format that keeps every sample", "use .wav or .flac")
    kind = _SUFFIXES[suffix]
    if kind == "FLAC" and source.channels > _FLAC_CHANNELS:
        raise UserError(target, f"FLAC holds {_FLAC_CHANNELS} channels, not {source.channels}", "use .wav")
    subtype = _subtype(found.subtype, soundfile.available_subtypes(kind))
    if subtype is None:
        raise UserError(target, f"{kind} does not hold the samples of {source.path} ({found.subtype})", "use .wav")
    return Encoding(kind, subtype, found.copied)


def _subtype(wanted: str, available: Container[str]) -> str | None:
    """The encoding that is wanted, or the smallest one of integers that holds its samples; None if there is none."""
    if wanted in available or wanted not in _INTEGERS:
        return wanted if wanted in available else None
    wide = [name for name in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32") if _INTEGERS[name] >= _INTEGERS[wanted]]
    return next((name for name in wide if name in available), None)


def default_suffix(source: AudioFile) -> str:
    """The suffix of a file that keeps every sample of another one: its own, or .wav."""
    return ".wav" if _native(source) is None else source.path.suffix


def changes(before: Tensor, after: Tensor) -> list[Replacement]:
    """The runs of samples of signals (C, T) that differ in any channel, as the second signal has them."""
    changed = torch.nn.functional.pad((before != after).any(0).int(), (1, 1)).diff()
    starts, stops = (changed == 1).nonzero()[:, 0].tolist(), (changed == -1).nonzero()[:, 0].tolist()
    return [Replacement(start, stop, after[:, start:stop]) for start, stop in zip(starts, stops, strict=True)]


def rewrite(
    source: AudioFile,
    target: Path,
    replacements: Sequence[Replacement],
    encoding: Encoding,
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Write a file with parts replaced, atomically; returns its samples per channel.

    Args:
        source: the file.
        target: to write.
        replacements: in order, apart from each other.
        encoding: of `encoding_for`.
        metadata: as of `audio.writing.write`, for WAV and FLAC.

    Raises:
        UserError: the target cannot be written, or the source cannot be read.

    Warns:
        UserWarning: replaced samples are above full scale and clipped.
    """
    rate, channels, samples = source.sample_rate, source.channels, 0
    comment = to_comment(metadata or {})
    with atomic_write(target) as temporary, Disk(temporary, "w+") as disk:
        try:
            with SoundWriter(disk, rate, channels, encoding.subtype, encoding.format, comment) as file:
                for block in _spliced(source, target, replacements, encoding):
                    file.write(block)
                    samples += len(block)
                    if disk.error:
                        break
        except soundfile.LibsndfileError as error:
            raise unwritable(target, rate, error) from error
        append_comment(disk, encoding.format, comment)
        if disk.error:
            raise disk.error
    return samples


def _native(source: AudioFile) -> Encoding | None:
    """The encoding of a file whose samples can be copied; None of others."""
    try:
        with soundfile.SoundFile(source.path) as file:
            known = file.subtype in _INTEGERS or file.subtype in _FLOATS
            return Encoding(file.format, file.subtype, True) if known and file.frames == source.samples else None
    except soundfile.LibsndfileError:
        return None


def _spliced(
    source: AudioFile, target: Path, replacements: Sequence[Replacement], encoding: Encoding
) -> Iterator[np.ndarray]:
    with soundfile.SoundFile(source.path) if encoding.copied else nullcontext() as file:
        blocks = partial(_decoded_blocks, source) if file is None else partial(_blocks, file, encoding)
        at = 0
        for replacement in replacements:
            yield from blocks(at, max(replacement.start, 0))
            yield _encoded(replacement.samples, target, encoding)
            at = max(min(replacement.stop, source.samples), 0)
        yield from blocks(at, source.samples)


def _decoded_blocks(source: AudioFile, start: int, stop: int) -> Iterator[np.ndarray]:
    """The samples [start, stop) of a file as they are decoded, in blocks (T, C)."""
    return source.blocks(start, stop - start) if stop > start else iter(())


def _blocks(file: soundfile.SoundFile, encoding: Encoding, start: int, stop: int) -> Iterator[np.ndarray]:
    """The samples [start, stop) of an open file as they are encoded, in blocks (T, C)."""
    dtype = "int32" if encoding.subtype in _INTEGERS else "float64"
    if start < stop and (skipped := start - file.tell()):
        file.read(skipped, dtype) if 0 < skipped <= _BLOCK else file.seek(start)  # seeking is slow in FLAC
    for position in range(start, stop, _BLOCK):
        yield file.read(min(_BLOCK, stop - position), dtype, always_2d=True)


def _encoded(samples: Tensor, target: Path, encoding: Encoding) -> np.ndarray:
    """Samples (C, T) in the type in which those of the file are copied, (T, C)."""
    values = np.ascontiguousarray(samples.double().numpy().T)
    bits = _INTEGERS.get(encoding.subtype)
    if bits is None:
        return values if encoding.copied else values.astype(np.float32)
    if values.size and (peak := np.abs(values).max()) > 1:
        warnings.warn(f"{target}: peak {peak:.2f} is above full scale and is clipped", stacklevel=3)
    full = 2.0 ** (bits - 1)
    low, high = encoding.bounds
    return (np.clip(np.round(values * full), low * full, high * full).astype(np.int64) << (32 - bits)).astype(np.int32)
