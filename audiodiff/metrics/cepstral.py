"""Mel-cepstral distortion (Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993).

With mel cepstra c_m of the log amplitude, MCD = 10 / ln 10 * sqrt(2 sum_{m=1}^{24} (c_m - c'_m)^2) in dB: the root mean
square distance of two envelopes over the mel axis, without the level (c_0) and detail finer than 24 ripples. The
envelopes are WORLD's; its coder returns the cosine transform of the log *power* over the mel axis (40 Hz to half the
rate), orthonormal but for a mean square in place of a sum, that is sqrt(2) c_m. Frames are compared one to one.
"""

import numpy as np

from audiodiff.extras import load_module
from audiodiff.metrics.world import envelope

ORDER = 24
RANGE_DB = 50.0
MIN_FRAMES = 10


def mel_cepstrum(power: np.ndarray, sample_rate: int) -> np.ndarray:
    """Coded mel cepstra (frames, 1 + ORDER) of a power envelope (frames, bins): coefficient m >= 1 is sqrt(2) c_m."""
    return load_module("pyworld").code_spectral_envelope(power.copy(), sample_rate, 1 + ORDER)


def distortion(coded: np.ndarray, coded_hat: np.ndarray) -> np.ndarray:
    """MCD in dB of each frame, from two coded mel cepstra (frames, 1 + ORDER)."""
    return 10 / np.log(10) * np.linalg.norm(coded[:, 1:] - coded_hat[:, 1:], axis=1)


def mel_cepstral_distortion(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Mean MCD in dB over frames within `RANGE_DB` of the reference's loudest; NaN if fewer than `MIN_FRAMES`."""
    power, power_hat = envelope(reference, sample_rate), envelope(estimate, sample_rate)
    level = 10 * np.log10(power.mean(axis=1))
    audible = level > level.max() - RANGE_DB
    if audible.sum() < MIN_FRAMES:
        return float("nan")
    frames = distortion(mel_cepstrum(power, sample_rate), mel_cepstrum(power_hat, sample_rate))
    return float(frames[audible].mean())
