"""Audio files: reading WAV, FLAC, AIFF, OGG (Vorbis or Opus) and MP3, writing WAV and FLAC.

Samples are float32 with full scale at +-1, mixed to mono unless channels are asked for. Pieces are read by seeking: a
second from the middle of an hour costs a second.
"""

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.files import atomic

EXTENSIONS = (".wav", ".flac", ".aiff", ".aif", ".ogg", ".opus", ".mp3")
_WRITTEN = {"wav": "WAV", "flac": "FLAC"}
FORMATS = tuple(_WRITTEN)


@dataclass(frozen=True)
class Audio:
    """A signal and its rate.

    Attributes:
        samples: (T,) or (B, T); with channels (C, T) or (B, C, T); full scale +-1.
        sample_rate: Hz.
    """

    samples: Tensor
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[-1] / self.sample_rate


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: samples per channel, sample_rate in Hz, channels, seconds."""

    samples: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.sample_rate


def _open(path: Path) -> soundfile.SoundFile:
    if not path.exists():
        raise UserError(path, "no such file")
    if path.is_dir():
        raise UserError(path, "is a folder, not an audio file")
    if path.stat().st_size == 0:
        raise UserError(path, "is empty (0 bytes)")
    if path.suffix.lower() not in EXTENSIONS:
        raise UserError(path, "is not an audio file of a known kind", f"expected {' '.join(EXTENSIONS)}")
    try:
        return soundfile.SoundFile(_encoded(path))
    except soundfile.LibsndfileError as error:
        raise UserError(path, f"is not readable audio ({error.error_string})", "is its suffix right?") from error


def _encoded(path: Path) -> Path | bytes:
    """A path for soundfile, which by itself encodes none that is not UTF-8."""
    return path if os.name == "nt" else os.fsencode(path)


def probe(path: str | Path) -> AudioInfo:
    """What the header says; nothing else is read.

    Raises:
        UserError: missing, empty, or not audio.
    """
    with _open(Path(path)) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def read(
    path: str | Path,
    sample_rate: int | None = None,
    start: int = 0,
    samples: int | None = None,
    channels: int | None = None,
) -> Audio:
    """Read a file, or a piece of it, as float32.

    Args:
        path: WAV, FLAC, AIFF, OGG or MP3.
        sample_rate: Hz; resampled to it where the file has another. None: the file's own.
        start: first sample of the piece, at the file's own rate.
        samples: length of the piece, at the file's own rate; less comes back where the file ends. None: all there is.
        channels: None for mono samples (T,), into which all channels are mixed; 1 or 2 for (channels, T): a mono file
            twice, of a file with more channels than two its mono mix twice.

    Raises:
        UserError: missing, empty, not audio, truncated, no samples (from `start` on), NaN or infinite samples.

    Warns:
        UserWarning: more than two channels or a rate above 48 kHz, which few would feed to a model on purpose.
    """
    if start < 0 or (samples is not None and samples < 1):
        raise ValueError(f"no piece of a file: start = {start}, samples = {samples}")
    if channels not in (None, 1, 2):
        raise ValueError(f"a file is read as one channel or two, not {channels}")
    path = Path(path)
    with _open(path) as file:
        rate, available = file.samplerate, max(file.frames - start, 0)
        if available == 0:
            raise UserError(path, f"holds {file.frames} samples" + (f", no sample {start}" if start else ""))
        if file.channels > 2 or rate > 48000:
            warnings.warn(f"{path}: {file.channels} channels at {rate} Hz, which is rarely meant", stacklevel=2)
        wanted = available if samples is None else min(samples, available)
        try:
            file.seek(start)
            data = file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UserError(path, f"is truncated or damaged ({error.error_string})") from error
    if len(data) < wanted:
        raise UserError(path, f"is truncated: {start + len(data)} of {start + wanted} samples can be read")
    if not np.isfinite(data).all():
        raise UserError(path, "holds NaN or infinite samples")
    if channels == 2 and data.shape[1] == 2:
        signal = torch.from_numpy(np.ascontiguousarray(data.T))
    else:
        mono = torch.from_numpy(data.mean(1))
        signal = mono if channels is None else mono.expand(channels, -1)
    return Audio(signal, rate) if sample_rate is None else Audio(resample(signal, rate, sample_rate), sample_rate)


def resample(samples: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the rate of (..., T) from and to Hz, band-limited (soxr, high quality): -> (..., ceil(T * to / from))."""
    if from_rate == to_rate:
        return samples
    out = librosa.resample(samples.numpy(), orig_sr=from_rate, target_sr=to_rate, res_type="soxr_hq")
    return torch.from_numpy(np.ascontiguousarray(out))


def write(path: str | Path, audio: Audio, format: str | None = None) -> None:
    """Write one signal as 16-bit WAV or FLAC, atomically; peaks above 1 are clipped, with a warning.

    Args:
        path: of the file.
        audio: samples (T,) or (C, T), of one channel or two, and their rate.
        format: "wav" or "flac"; None: by the suffix.

    Raises:
        UserError: another format, NaN or infinite samples, or a disk that refuses.
    """
    path = Path(path)
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in _WRITTEN:
        raise UserError(path, f"audio is not written as {name!r}", "use .wav or .flac")
    if audio.samples.ndim != 1 and not (audio.samples.ndim == 2 and len(audio.samples) <= 2):
        raise ValueError(f"a file takes one signal (T,) or (C, T), C <= 2, got {tuple(audio.samples.shape)}")
    # Encoded in memory: libsndfile itself does not say why a disk refuses.
    encoded = BytesIO()
    soundfile.write(encoded, _steps(path, audio.samples), audio.sample_rate, "PCM_16", format=_WRITTEN[name])
    with atomic(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def write_pieces(path: str | Path, pieces: Iterable[Tensor], sample_rate: int) -> None:
    """Write one signal that comes piece by piece (C, T), as `write`; no more than a piece is held in memory.

    Raises:
        UserError: as `write`.
    """
    path = Path(path)
    name = path.suffix.lstrip(".").lower()
    if name not in _WRITTEN:
        raise UserError(path, f"audio is not written as {name!r}", "use .wav or .flac")
    pieces = iter(pieces)
    first = next(pieces)
    with atomic(path) as temporary:
        try:
            with soundfile.SoundFile(
                _encoded(temporary), "w", sample_rate, len(first), "PCM_16", format=_WRITTEN[name]
            ) as file:
                for piece in chain([first], pieces):
                    file.write(_steps(path, piece))
        except soundfile.LibsndfileError as error:
            raise UserError(path, f"cannot be written ({error.error_string})", "free some space") from error


def _steps(path: Path, samples: Tensor) -> np.ndarray:
    """Samples (T,) or (C, T) as 16-bit steps (T,) or (T, C)."""
    samples = samples.detach().cpu().float()
    if not samples.isfinite().all():
        raise UserError(path, "NaN or infinite samples cannot be written")
    if samples.numel() and (peak := samples.abs().max().item()) > 1:
        warnings.warn(f"{path}: peak {peak:.2f} is above full scale and is clipped", stacklevel=3)
    # Rounded here: libsndfile rounds for FLAC, but for WAV it floors, half a step too low on average.
    return (samples.clamp(-1, 1) * 32768).round().clamp(max=32767).to(torch.int16).numpy().T
