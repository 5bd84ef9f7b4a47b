"""Multi-resolution STFT distance (Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020), as in training."""

import numpy as np
import torch

from audiodiff.audio import spectral


def multi_resolution_stft(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Spectral convergence plus log magnitude distance, averaged over resolutions; 0 is identical; any sample rate."""
    x, y = (torch.from_numpy(signal)[None] for signal in (estimate, reference))
    return float(spectral.multi_resolution_stft(x, y)[0])
