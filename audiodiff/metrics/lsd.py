"""Log-spectral distance, the measure of bandwidth extension (Gray and Markel, IEEE TASSP 24(5), 1976).

The root mean square over frequencies of the difference of log10 power spectra, averaged over frames of 2048 samples
every 512 (as in Lu et al., "Towards high-quality and efficient speech bandwidth extension", arXiv 2401.06387). Powers
below -80 dB relative to the recording's loudest count as equal: digital silence has no logarithm.
"""

import math

import numpy as np

N_FFT, HOP = 2048, 512
FLOOR = 1e-8  # of the loudest power of the recording


def log_spectral_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, above: float = 0.0) -> float:
    """Distance of the spectra above a frequency in Hz; 0 is identical. NaN if nothing lies above it."""
    first = math.ceil(above * N_FFT / sample_rate)
    if first > N_FFT // 2:
        return math.nan
    powers = [_powers(signal) for signal in (reference, estimate)]
    floor = max(FLOOR * float(powers[0].max()), np.finfo(np.float64).tiny)
    logs = [np.log10(np.maximum(power[:, first:], floor)) for power in powers]
    return float(np.sqrt(np.square(logs[0] - logs[1]).mean(1)).mean())


def _powers(signal: np.ndarray) -> np.ndarray:
    """(frames, bins)."""
    padded = np.pad(signal.astype(np.float64), (N_FFT // 2, N_FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(N_FFT))))
