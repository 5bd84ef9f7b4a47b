"""What `bench/watermark.py` does to watermarked sound: each takes samples (C, T) and a rate, and returns both."""

from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from audiodiff.audio.io import resample

Attack = Callable[[Tensor, int], tuple[Tensor, int]]
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MPEG1 = 32000  # Hz: MP3 of lower rates is MPEG-2, which has other bit rates
_MP3_RANGE = {True: (32, 320), False: (8, 160)}  # kbit/s
_OPUS_RANGE = (6, 256)  # kbit/s of each channel


def unchanged(samples: Tensor, rate: int) -> tuple[Tensor, int]:
    """Nothing but 16 bits."""
    return (samples.clamp(-1, 1) * 32767).round() / 32767, rate


def resampled(samples: Tensor, rate: int, to: int) -> tuple[Tensor, int]:
    """To another sample rate, in Hz."""
    return resample(samples, rate, to), to


def coded(samples: Tensor, rate: int, codec: str, bits: int) -> tuple[Tensor, int]:
    """Encoded and decoded by "mp3" or "opus" at a bit rate in kbit/s of all channels."""
    content, rate = encode(samples, rate, codec, bits)
    decoded, rate = soundfile.read(BytesIO(content), dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(decoded.T)), rate


def encode(samples: Tensor, rate: int, codec: str, bits: int) -> tuple[bytes, int]:
    """The content of a file, and its sample rate."""
    if codec == "opus" and rate not in _OPUS_RATES:
        samples, rate = resample(samples, rate, 48000), 48000
    channels, content = len(samples), BytesIO()
    if codec == "mp3":
        low, high = _MP3_RANGE[rate >= _MPEG1]
        options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    else:
        low, high = (limit * channels for limit in _OPUS_RANGE)
        options = {"format": "OGG", "subtype": "OPUS"}
    level = min(max(1 - (bits - low) / (high - low), 0), 1)
    with soundfile.SoundFile(content, "w", rate, channels, compression_level=level, **options) as file:
        file.write(samples.numpy().T)
    return content.getvalue(), rate


def vorbis(samples: Tensor, rate: int) -> tuple[Tensor, int]:
    """Encoded and decoded as Ogg Vorbis, as audiodiff writes it."""
    content = BytesIO()
    soundfile.write(content, samples.numpy().T, rate, format="OGG", subtype="VORBIS")
    decoded, rate = soundfile.read(BytesIO(content.getvalue()), dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(decoded.T)), rate


def noisy(samples: Tensor, rate: int, decibels: float) -> tuple[Tensor, int]:
    """With white noise, so many dB below the sound."""
    noise = torch.randn(samples.shape, generator=torch.Generator().manual_seed(samples.shape[-1]))
    return samples + noise * samples.square().mean().sqrt() * 10 ** (-decibels / 20), rate


def gained(samples: Tensor, rate: int, decibels: float) -> tuple[Tensor, int]:
    """Louder or softer by so many dB, with 16 bits: above full scale it is clipped."""
    return unchanged(samples * 10 ** (decibels / 20), rate)


def faster(samples: Tensor, rate: int, factor: float) -> tuple[Tensor, int]:
    """Played at another speed, with another pitch."""
    return resample(samples, round(rate * factor), rate), rate


def mono(samples: Tensor, rate: int) -> tuple[Tensor, int]:
    """All channels mixed."""
    return samples.mean(0, keepdim=True), rate


ATTACKS: dict[str, Attack] = {
    "16 bits": unchanged,
    "mixed to mono": mono,
    "resampled to 44.1 kHz": partial(resampled, to=44100),
    "resampled to 16 kHz": partial(resampled, to=16000),
    "resampled to 8 kHz": partial(resampled, to=8000),
    "MP3, 128 kbit/s": partial(coded, codec="mp3", bits=128),
    "MP3, 64 kbit/s": partial(coded, codec="mp3", bits=64),
    "Opus, 128 kbit/s": partial(coded, codec="opus", bits=128),
    "Opus, 64 kbit/s": partial(coded, codec="opus", bits=64),
    "Opus, 24 kbit/s": partial(coded, codec="opus", bits=24),
    "Ogg Vorbis": vorbis,
    "white noise, 30 dB": partial(noisy, decibels=30),
    "white noise, 20 dB": partial(noisy, decibels=20),
    "white noise, 10 dB": partial(noisy, decibels=10),
    "gain -20 dB": partial(gained, decibels=-20),
    "gain +6 dB, clipped": partial(gained, decibels=6),
    "speed +0.1 %": partial(faster, factor=1.001),
    "speed +1 %": partial(faster, factor=1.01),
}
