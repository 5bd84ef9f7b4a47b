"""Audio files: reading what `reading.formats` lists, writing WAV and FLAC.

Samples are float32 with full scale at +-1, mixed to mono unless channels are asked for. Pieces of WAV, FLAC and other
formats with exact places are read by seeking: a second from the middle of an hour costs a second. Of MP3, Ogg and what
FFmpeg decodes, all that comes before has to be decoded.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO, FileIO
from itertools import chain
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from audiodiff.audio.arrays import real_tensor, whole_number
from audiodiff.audio.reading.audio_file import AudioFile
from audiodiff.audio.reading.formats import EXTENSIONS as EXTENSIONS
from audiodiff.errors import UserError
from audiodiff.files import atomic_write

MAX_SAMPLES = 1 << 31  # of all channels, read at once: 8 GiB
CANCELLED = 1e-4  # share of the channels' energy that is left in their mono mix
_WRITTEN = {"wav": "WAV", "flac": "FLAC"}
FORMATS = tuple(_WRITTEN)
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
    """Integers divided by the full scale of their type; unsigned ones are centered at half of it."""
    if samples.dtype not in _FULL_SCALE:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FULL_SCALE)
        problem = f"{samples.dtype} samples have no full scale ({known} do)"
        raise UserError("audio", problem, "convert them to float32, full scale +-1")
    scale = _FULL_SCALE[samples.dtype]
    warnings.warn(f"audio: {samples.dtype} samples are divided by {scale}, their full scale", stacklevel=5)
    return (samples.double() - (scale if samples.dtype == torch.uint8 else 0)) / scale


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds: samples per channel, sample_rate in Hz, channels, seconds."""

    samples: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Rate, channels and length; decoded once where the header does not say how long it is.

    Raises:
        UserError: missing, empty, not audio, or shorter than its header says.
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
    """Read a file, or a piece of it, as float32. A piece is the slice of the whole.

    Args:
        path: of a file in one of the formats of `reading.formats`; or one that is open, which is left open.
        sample_rate: Hz; resampled to it where the file has another. None: the file's own.
        start: first sample of the piece, at the file's own rate.
        samples: length of the piece, at the file's own rate; less comes back where the file ends. None: all there is.
        channels: None for mono samples (T,), into which all channels are mixed; 1 or 2 for (channels, T): a mono file
            twice, of a file with more channels than two its mono mix twice.

    Raises:
        UserError: missing, empty, not audio, truncated, no samples (from `start` on), NaN or infinite samples, or more
            than `MAX_SAMPLES`.

    Warns:
        UserWarning: more than two channels or a rate above 48 kHz, which few would feed to a model on purpose; channels
            that cancel each other in the mono mix; what is odd about the file.
    """
    if start < 0 or (samples is not None and samples < 1):
        raise ValueError(f"no piece of a file: start = {start}, samples = {samples}")
    if channels not in (None, 1, 2):
        raise ValueError(f"a file is read as one channel or two, not {channels}")
    if not isinstance(path, AudioFile):
        with AudioFile(path) as file:
            return read(file, sample_rate, start, samples, channels)
    file = path
    if file.channels > 2 or file.sample_rate > 48000:
        problem = f"{file.channels} channels at {file.sample_rate} Hz, which is rarely meant"
        warnings.warn(f"{file.path}: {problem}", stacklevel=2)
    if file.remark:
        warnings.warn(f"{file.path}: {file.remark}", stacklevel=2)
    signal = _signal(file, start, samples, channels == 2 and file.channels == 2, sample_rate or file.sample_rate)
    if not len(signal):
        raise UserError(file.path, f"holds {file.samples} samples" + (f", no sample {start}" if start else ""))
    signal = torch.from_numpy(np.ascontiguousarray(signal.T))
    if channels is not None and signal.ndim == 1:
        signal = signal.expand(channels, -1)
    rate = file.sample_rate
    return Audio(signal, rate) if sample_rate is None else Audio(resample(signal, rate, sample_rate), sample_rate)


def _signal(file: AudioFile, start: int, samples: int | None, stereo: bool, to_rate: int) -> np.ndarray:
    """A piece of a file as (T, 2), or mixed to mono (T,)."""
    blocks, total, before, mixed = [], 0, 0.0, 0.0
    most = MAX_SAMPLES / max(to_rate / file.sample_rate, 1) / (2 if stereo else 1)
    for block in file.blocks(start, samples):
        if not np.isfinite(block).all():
            raise UserError(file.path, "holds NaN or infinite samples")
        if not stereo:
            mono = block.mean(1)
            if file.channels > 1:
                before += np.vdot(block, block).item() / file.channels
                mixed += np.vdot(mono, mono).item()
            block = mono
        total += len(block)
        if total > most:
            problem = f"is longer than can be read at once ({most / file.sample_rate / 3600:.3g} hours)"
            raise UserError(file.path, problem, "cut it into pieces")
        blocks.append(block)
    if mixed < CANCELLED * before:
        warnings.warn(f"{file.path}: its channels cancel each other in the mono mix", stacklevel=3)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.zeros(0, np.float32)])


def resample(samples: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the rate of (..., T) from and to Hz, band-limited (soxr, high quality): -> (..., ceil(T * to / from))."""
    if from_rate == to_rate:
        return samples
    out = librosa.resample(samples.numpy(), orig_sr=from_rate, target_sr=to_rate, res_type="soxr_hq")
    return torch.from_numpy(np.ascontiguousarray(out))


def resample_for_flac(audio: Audio) -> Audio:
    """The signal at a rate that a FLAC file can have: 65535 Hz or any below, or a multiple of 10 Hz up to 655350 Hz."""
    rate = audio.sample_rate
    storable = rate if rate < 1 << 16 else min(rate, 655350) // 10 * 10
    return audio if storable == rate else Audio(resample(audio.samples, rate, storable), storable)


def write(path: str | Path, audio: Audio, format: str | None = None) -> None:
    """Write one signal as 16-bit WAV or FLAC, atomically; peaks above 1 are clipped, with a warning.

    Args:
        path: of the file.
        audio: samples (T,) or (C, T), of one channel or two, or a batch of one such signal, and their rate.
        format: "wav" or "flac"; None: by the suffix.

    Raises:
        UserError: another format, several signals or channels, a rate that the format lacks, or a disk that refuses.
    """
    path = Path(path)
    encoding = _encoding(path, format)
    samples = audio.samples[0] if audio.samples.ndim == 3 and len(audio.samples) == 1 else audio.samples
    if samples.ndim != 1 and not (samples.ndim == 2 and len(samples) in (1, 2)):
        problem = f"a file takes one signal (T,) or (C, T), C <= 2, got {tuple(samples.shape)}"
        frames_first = samples.ndim == 2 and samples.shape[1] <= 2
        fix = "transpose them: channels come first" if frames_first else "write each clip to a file of its own"
        raise UserError(path, problem, fix)
    # Encoded in memory: libsndfile itself does not say why a disk refuses.
    encoded = BytesIO()
    try:
        soundfile.write(encoded, _steps(path, samples), audio.sample_rate, "PCM_16", format=encoding)
    except soundfile.LibsndfileError as error:
        raise _unwritable(path, audio.sample_rate, error) from error
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def write_chunks(path: str | Path, pieces: Iterable[Tensor], sample_rate: int) -> None:
    """Write one signal that comes piece by piece (C, T), as `write`; no more than a piece is held in memory.

    Raises:
        UserError: as `write`.
    """
    path = Path(path)
    encoding, pieces = _encoding(path), iter(pieces)
    first = next(pieces)
    with atomic_write(path) as temporary, _Disk(temporary, "w+") as disk:
        try:
            with soundfile.SoundFile(disk, "w", sample_rate, len(first), "PCM_16", format=encoding) as file:
                for piece in chain([first], pieces):
                    file.write(_steps(path, piece))
                    if disk.error:
                        break
        except soundfile.LibsndfileError as error:
            raise _unwritable(path, sample_rate, error) from error
        if disk.error:
            raise disk.error


def _encoding(path: Path, format: str | None = None) -> str:
    """What libsndfile calls the format, "wav" or "flac", or that of the suffix."""
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in _WRITTEN:
        raise UserError(path, f"audio is not written as {name!r}", "use .wav or .flac")
    return _WRITTEN[name]


def _unwritable(path: Path, sample_rate: int, error: soundfile.LibsndfileError) -> UserError:
    problem = f"cannot be written at {sample_rate} Hz ({error.error_string})"
    return UserError(path, problem, "resample it or choose another format")


class _Disk(FileIO):
    """A file that libsndfile writes to, which keeps the error of the disk.

    libsndfile does not say what the error was, and of the last block of a FLAC not even that there was one.
    """

    error: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write all of `content`, or keep the error and drop it."""
        rest = memoryview(content)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return len(content)


def _steps(path: Path, samples: Tensor) -> np.ndarray:
    """Samples (T,) or (C, T) as 16-bit steps (T,) or (T, C)."""
    samples = samples.detach().cpu().float()
    if not samples.isfinite().all():
        raise UserError(path, "NaN or infinite samples cannot be written")
    if samples.numel() and (peak := samples.abs().max().item()) > 1:
        warnings.warn(f"{path}: peak {peak:.2f} is above full scale and is clipped", stacklevel=3)
    # Rounded here: libsndfile rounds for FLAC, but for WAV it floors, half a step too low on average.
    return (samples.clamp(-1, 1) * 32768).round().clamp(max=32767).to(torch.int16).numpy().T
