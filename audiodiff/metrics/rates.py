"""Resampling for metrics that are defined at one sample rate."""

import numpy as np
import torch

from audiodiff.audio.io import resample


def at_rate(samples: np.ndarray, sample_rate: int, target: int) -> np.ndarray:
    """Resample `samples` (T,) from `sample_rate` to `target` Hz; float32; unchanged if the rates are equal."""
    if sample_rate == target:
        return samples
    return resample(torch.from_numpy(samples), sample_rate, target).numpy()
