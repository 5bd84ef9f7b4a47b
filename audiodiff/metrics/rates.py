"""Metrics that know one sample rate get the pair at that rate."""

import numpy as np
import torch

from audiodiff.audio.io import resample


def at_rate(samples: np.ndarray, sample_rate: int, wanted: int) -> np.ndarray:
    """`samples` (T,) from `sample_rate` to `wanted` Hz; float32; untouched where the rates agree."""
    if sample_rate == wanted:
        return samples
    return resample(torch.from_numpy(samples), sample_rate, wanted).numpy()
