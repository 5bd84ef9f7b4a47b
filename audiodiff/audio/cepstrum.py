"""Cepstra of speech with their derivatives, the observations of a hidden Markov model of phonemes.

The cosine transform of a log-mel concentrates the vowel-like envelope in few, nearly uncorrelated numbers, so that
Gaussians with diagonal covariances describe them (Davis and Mermelstein 1980). First and second derivatives in time, by
linear regression over a few frames (Furui 1986), mark the transitions between phonemes. Each number is standardized
over its clip, which removes the level and the average spectrum of microphone and voice.

Frame k is centered at sample k * hop_length of the 16 kHz signal: it observes the time from half a hop before to half a
hop after. Above 8 kHz there is nothing: recordings of telephone bandwidth and of full bandwidth look alike.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.audio.mel.spec import MelSpec
from audiodiff.audio.mel.spectrogram import MelSpectrogram

SPEC = MelSpec(
    sample_rate=16000,
    n_fft=512,
    hop_length=80,
    win_length=320,
    n_mels=40,
    f_min=60.0,
    f_max=7600.0,
    power=2,
    mel_scale="htk",
    norm=None,
    log_base="e",
    log_floor=1e-6,
    center=True,
    padding="constant",
)
ORDER = 16  # coefficients, with the level
FEATURES = 3 * ORDER
_REGRESSION = 3  # frames to each side


def cepstra(waveform: Tensor) -> Tensor:
    """Standardized cepstra with first and second derivatives of 16 kHz clips, (B, T) -> (B, frames, FEATURES)."""
    mel = MelSpectrogram(SPEC).to(waveform.device)(waveform)
    static = _cosines(SPEC.n_mels).to(mel) @ mel
    slope = _regression(static)
    features = torch.cat([static, slope, _regression(slope)], dim=1).transpose(1, 2)
    mean, deviation = features.mean(1, keepdim=True), features.std(1, keepdim=True, correction=0)
    return (features - mean) / deviation.clamp(min=1e-3)


@lru_cache
def _cosines(bands: int) -> Tensor:
    """The first `ORDER` rows of the orthonormal discrete cosine transform (ORDER, bands)."""
    angles = math.pi / bands * torch.arange(ORDER)[:, None] * (torch.arange(bands) + 0.5)
    rows = angles.cos() * math.sqrt(2 / bands)
    rows[0] /= math.sqrt(2)
    return rows


def _regression(rows: Tensor) -> Tensor:
    """Slope per frame (B, C, T) of the straight line through the neighboring frames."""
    steps = torch.arange(-_REGRESSION, _REGRESSION + 1, dtype=rows.dtype, device=rows.device)
    kernel = (steps / steps.square().sum()).expand(rows.shape[1], 1, -1)
    padded = F.pad(rows, (_REGRESSION, _REGRESSION), mode="replicate")
    return F.conv1d(padded, kernel, groups=rows.shape[1])
