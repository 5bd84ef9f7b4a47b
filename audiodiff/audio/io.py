"""Audio files: reads the formats in `reading.formats`; `writing` writes them, and its functions are here, too.

Samples are float32 with full scale +-1, mixed to mono by default. Parts of WAV, FLAC and other formats with exact
positions are read by seeking: a second from the middle of an hour costs a second. In MP3, Ogg and formats decoded by
FFmpeg, everything before the part has to be decoded.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audiodiff.audio.arrays import real_tensor
from audiodiff.audio.encoding import FORMATS as FORMATS
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.reading.formats import EXTENSIONS as EXTENSIONS
from audiodiff.audio.writing import check_writable as check_writable
from audiodiff.audio.writing import write as write
from audiodiff.audio.writing import write_chunks as write_chunks
from audiodiff.errors import UserError
from audiodiff.options import whole_number

MAX_SAMPLES = 1 << 31  # of all channels, read at once: 8 GiB
CANCELED = 1e-4  # fraction of the channels' energy that is left in their mono mix
_FEW_CHANNELS = 8  # a last axis of so many or fewer is one of channels, unless the other axis is as short
_FULL_SCALE = {torch.uint8: 2**7, torch.int16: 2**15, torch.int32: 2**31}  # the integer types of WAV files


@dataclass(frozen=True, repr=False, eq=False)
class Audio:
    """A waveform and its sample rate.

    Accepts tensors, NumPy arrays and nested lists, and holds float32 on the CPU. Integers are divided by the full scale
    of their type, as in a WAV file, with a warning.

    Attributes:
        samples: (T,) mono, (C, T) with channels first, or a batch (B, C, T); finite, full scale +-1.
        sample_rate: Hz.

    Raises:
        UserError: another shape, such as (T, C); samples that are not real numbers, NaN or infinite, or of an integer
            type other than uint8, int16 and int32; a sample rate that is not a positive integer.
    """

    samples: Tensor
    sample_rate: int

    def __post_init__(self) -> None:
        """Convert and check."""
        object.__setattr__(self, "samples", _float_samples(self.samples))
        object.__setattr__(self, "sample_rate", whole_number(self.sample_rate, "sample rate", 1))

    def __repr__(self) -> str:
        """Duration, rate, channels and peak."""
        batch = f"{len(self.samples)} clips, " if self.samples.ndim == 3 else ""
        channels = f"{self.channels} channel{'s' * (self.channels != 1)}"
        peak = self.samples.abs().max().item() if self.samples.numel() else 0.0
        return f"Audio({batch}{self.seconds:.3f} s, {self.sample_rate} Hz, {channels}, peak {peak:.3f})"

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[-1] / self.sample_rate

    @property
    def channels(self) -> int:
        """Number of channels; 1 for samples (T,)."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[-2]


def _float_samples(samples: ArrayLike | Tensor) -> Tensor:
    """Samples of any real type as float32 on the CPU."""
    samples = real_tensor(samples, "audio").cpu()
    if samples.ndim == 0:
        raise UserError("audio", "is a single number", "give samples (T,) or (C, T)")
    if samples.ndim > 3:
        raise UserError("audio", f"has shape {tuple(samples.shape)}", "give samples (T,), (C, T) or a batch (B, C, T)")
    if samples.ndim > 1 and 0 < samples.shape[-1] <= _FEW_CHANNELS < samples.shape[-2]:
        problem = f"has shape {tuple(samples.shape)}, time is the last axis"
        raise UserError("audio", problem, "transpose it to channels first, (C, T)")
    if not samples.is_floating_point():
        samples = _scaled(samples)
    samples = samples.float()
    if not samples.sum(dtype=torch.float64).isfinite():
        raise UserError("audio", "holds NaN or infinite samples", "repair the recording")
    return samples


def _scaled(samples: Tensor) -> Tensor:
    """Divide integers by the full scale of their type; uint8 is centered at 128."""
    if samples.dtype not in _FULL_SCALE:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FULL_SCALE)
        problem = f"{samples.dtype} samples have no full scale ({known} do)"
        raise UserError("audio", problem, "convert them to float32, full scale +-1")
    scale = _FULL_SCALE[samples.dtype]
    warnings.warn(f"audio: {samples.dtype} samples are divided by {scale}, their full scale", stacklevel=5)
    return (samples.double() - (scale if samples.dtype == torch.uint8 else 0)) / scale


@dataclass(frozen=True)
class AudioInfo:
    """Length and format of a file: samples per channel, sample rate in Hz, channels, seconds."""

    samples: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Length and format of a file; it is decoded if its header does not state the length.

    Raises:
        UserError: missing, empty, not audio, or shorter than its header states.
    """
    with AudioFile(path) as file:
        return AudioInfo(file.samples, file.sample_rate, file.channels)


def read(
    path: str | Path | AudioFile,
    sample_rate: int | None = None,
    start: int = 0,
    samples: int | None = None,
    channels: int | None = None,
) -> Audio:
    """Read a file, or a slice of it, as float32.

    Args:
        path: a file in one of the formats of `reading.formats`; or an open one, which stays open.
        sample_rate: Hz to resample to; None: that of the file.
        start: first sample of the slice, at the file's rate.
        samples: length of the slice, at the file's rate; shorter if the file ends before. None: up to the end.
        channels: None for mono (T,), a mix of all channels; 1 or 2 for (channels, T). Two channels of a file that does
            not have just two are its mono mix twice.

    Raises:
        UserError: missing, empty, not audio, truncated, no samples (from `start` on), NaN or infinite samples, or more
            than `MAX_SAMPLES`.

    Warns:
        UserWarning: more than two channels or a rate above 48 kHz, which is rarely intended; channels that cancel each
            other in the mono mix; an odd file.
    """
    if start < 0 or (samples is not None and samples < 1):
        raise ValueError(f"start = {start} and samples = {samples} are not a slice of a file")
    if channels not in (None, 1, 2):
        raise ValueError(f"channels = {channels} is not None, 1 or 2")
    if not isinstance(path, AudioFile):
        with AudioFile(path) as file:
            return read(file, sample_rate, start, samples, channels)
    file = path
    if file.channels > 2 or file.sample_rate > 48000:
        problem = f"{file.channels} channels at {file.sample_rate} Hz, which is rarely intended"
        warnings.warn(f"{file.path}: {problem}", stacklevel=2)
    if file.remark:
        warnings.warn(f"{file.path}: {file.remark}", stacklevel=2)
    signal = _signal(file, start, samples, channels == 2 and file.channels == 2, sample_rate or file.sample_rate)
    if not len(signal):
        raise UserError(
            file.path, f"holds {file.samples} samples" + (f", no sample {start}" if start else ""), "choose another"
        )
    waveform = torch.from_numpy(np.ascontiguousarray(signal.T))
    if channels is not None and waveform.ndim == 1:
        waveform = waveform.expand(channels, -1)
    rate = file.sample_rate
    return Audio(waveform, rate) if sample_rate is None else Audio(resample(waveform, rate, sample_rate), sample_rate)


def _signal(file: AudioFile, start: int, samples: int | None, stereo: bool, to_rate: int) -> np.ndarray:
    """A slice of a file as (T, 2), or mixed to mono (T,)."""
    blocks: list[np.ndarray] = []
    total, energy, mixed_energy = 0, 0.0, 0.0
    most = MAX_SAMPLES / max(to_rate / file.sample_rate, 1) / (2 if stereo else 1)
    for block in file.blocks(start, samples):
        if not np.isfinite(block).all():
            raise UserError(file.path, "holds NaN or infinite samples", "repair the recording")
        if not stereo:
            mono = block.mean(1)
            if file.channels > 1:
                energy += np.vdot(block, block).item() / file.channels
                mixed_energy += np.vdot(mono, mono).item()
            block = mono
        total += len(block)
        if total > most:
            problem = f"is longer than can be read at once ({most / file.sample_rate / 3600:.3g} hours)"
            raise UserError(file.path, problem, "cut it into pieces")
        blocks.append(block)
    if mixed_energy < CANCELED * energy:
        warnings.warn(f"{file.path}: its channels cancel each other in the mono mix", stacklevel=3)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.zeros(0, np.float32)])


def resample(samples: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample (..., T), rates in Hz, band-limited (soxr, high quality): -> (..., ceil(T * to_rate / from_rate))."""
    if from_rate == to_rate:
        return samples
    ratio = float(to_rate) / from_rate
    length = int(np.ceil(samples.shape[-1] * ratio))
    # As librosa.resample does, whose first use on a machine compiles for many seconds.
    out = np.apply_along_axis(soxr.resample, -1, samples.numpy(), from_rate, to_rate, quality="HQ")[..., :length]
    missing = [(0, 0)] * (out.ndim - 1) + [(0, length - out.shape[-1])]
    return torch.from_numpy(np.ascontiguousarray(np.pad(out, missing)))


def resample_for_flac(audio: Audio) -> Audio:
    """Resample to a rate that FLAC supports, if necessary: up to 65535 Hz, or a multiple of 10 Hz up to 655350 Hz."""
    rate = audio.sample_rate
    storable = rate if rate < 1 << 16 else min(rate, 655350) // 10 * 10
    return audio if storable == rate else Audio(resample(audio.samples, rate, storable), storable)
