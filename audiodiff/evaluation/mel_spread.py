"""The spread of takes of one clip, each from another seed, in their log-mels.

It is the standard deviation over takes (with Bessel's correction), in dB, of each band and frame. That of a stretch of
time is the root mean square over its bands and frames, of frames within `RANGE` dB of the loudest one of the clip: near
silence decibels vary without being heard.
"""

import numpy as np
import torch

from audiodiff.audio.mel.spec import MelSpec
from audiodiff.audio.mel.spectrogram import MelSpectrogram

RANGE = 60.0  # dB


def mel_spread(takes: np.ndarray, spec: MelSpec) -> tuple[np.ndarray, np.ndarray]:
    """The mean log-mel and its standard deviation, each (M, F) in dB, of takes (N, T) at the rate of the spec."""
    # From the spec's logarithm to decibels of power.
    scale = (20 if spec.power == 1 else 10) / np.log(10) / spec.log_scale
    mels = MelSpectrogram(spec)(torch.from_numpy(takes)).double().numpy() * scale
    return mels.mean(0), mels.std(0, ddof=1)


def audible(mel: np.ndarray) -> np.ndarray:
    """Which frames of a mean log-mel (M, F) are within `RANGE` of the loudest."""
    level = mel.max(0)
    return level > level.max() - RANGE


def decibels(deviation: np.ndarray, frames: np.ndarray) -> float:
    """Root mean square of a deviation (M, F) over all bands and some frames; NaN of none."""
    return float(np.sqrt(np.square(deviation[:, frames]).mean())) if frames.any() else float("nan")
