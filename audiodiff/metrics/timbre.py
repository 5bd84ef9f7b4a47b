"""A timbre embedding of a clip from textbook features, without a model or a download.

The log-mel spectrogram, in decibels below its maximum, is transformed to cepstra (Davis and Mermelstein 1980). The
embedding is the mean and standard deviation over audible frames of cepstra 1 to 12 (timbre and its changes), the level
in eight parts of the clip (its envelope) and the crest factor. It does not depend on loudness. Distances in it are only
comparable with each other, not with those of a learned embedding.
"""

import numpy as np
import torch
from scipy.fft import dct

from audiodiff.audio.io import resample
from audiodiff.audio.mel import MelSpec, MelSpectrogram

SAMPLE_RATE = 22050
CEPSTRA, PARTS = 12, 8
NAME = f"timbre ({2 * CEPSTRA + PARTS + 1} textbook features)"
_SPEC = MelSpec(
    sample_rate=SAMPLE_RATE,
    n_fft=1024,
    hop_length=256,
    win_length=1024,
    n_mels=40,
    f_min=20.0,
    f_max=SAMPLE_RATE / 2,
    power=2,
    mel_scale="slaney",
    norm="slaney",
    log_base="db",
    log_floor=1e-10,
    center=True,
    padding="constant",
)
_RANGE_DB = 80.0  # below the maximum; less is clipped
_AUDIBLE_DB = 50.0  # below the loudest frame


def embedding(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Embedding (D,) float64 of a clip (T,) or (C, T), mixed to mono.

    Raises:
        ValueError: the clip is empty, silent or not finite.
    """
    mono = np.atleast_2d(np.asarray(samples, np.float32)).mean(0)
    if not mono.size or not np.isfinite(mono).all() or not np.abs(mono).max() > 0:
        raise ValueError("an embedding needs a clip with finite samples that are not all zero")
    mono = mono / np.abs(mono).max()
    wave = resample(torch.from_numpy(mono), sample_rate, SAMPLE_RATE)
    wave = torch.nn.functional.pad(wave, (0, max(0, _SPEC.n_fft - wave.shape[-1])))
    power = MelSpectrogram(_SPEC).linear(wave).double().numpy()
    decibels = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-_RANGE_DB / 10)))
    decibels = decibels - decibels.max()
    level = 10 * np.log10(np.maximum(power.sum(0), power.sum(0).max() * 10 ** (-_RANGE_DB / 10)))
    level = level - level.max()
    cepstra = dct(decibels[:, level > -_AUDIBLE_DB], axis=0, norm="ortho")[1 : CEPSTRA + 1]
    parts = [part.mean() if part.size else -_RANGE_DB for part in np.array_split(level, PARTS)]
    crest = -20 * np.log10(np.sqrt(np.mean(mono.astype(np.float64) ** 2)))
    return np.concatenate([cepstra.mean(1), cepstra.std(1), parts, [crest]])
