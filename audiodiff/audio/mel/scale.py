"""The two mel scales, and triangular filters with corners evenly spaced on them.

Slaney's (Auditory Toolbox, 1998) is linear up to 1 kHz, 200/3 Hz a mel, and logarithmic above, 27 mels for each factor
of 6.4; HTK's is 2595 log10(1 + f / 700). Both equal librosa's, whose filters are not used because importing them takes
two seconds, ten times as long as loading a vocoder.
"""

import numpy as np

_BREAK_HZ, _HZ_PER_MEL, _MELS_PER_NEPER = 1000.0, 200 / 3, 27 / np.log(6.4)


def mel_from_hz(hz: np.ndarray | float, scale: str) -> np.ndarray:
    """Convert frequencies in Hz to mels; `scale` is "slaney" or "htk"."""
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    beyond = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ)
    return np.minimum(hz, _BREAK_HZ) / _HZ_PER_MEL + beyond * _MELS_PER_NEPER


def hz_from_mel(mels: np.ndarray | float, scale: str) -> np.ndarray:
    """Convert mels to frequencies in Hz; inverse of `mel_from_hz`."""
    mels = np.asarray(mels, dtype=np.float64)
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    at_break = _BREAK_HZ / _HZ_PER_MEL
    beyond = np.maximum(mels - at_break, 0) / _MELS_PER_NEPER
    return np.minimum(mels, at_break) * _HZ_PER_MEL * np.exp(beyond)


def corners(bands: int, f_min: float, f_max: float, scale: str) -> np.ndarray:
    """Corners of triangular filters in Hz, (bands + 2,): band i has its corners and peak at i, i + 2 and i + 1."""
    low, high = mel_from_hz(np.array([f_min, f_max]), scale)
    return hz_from_mel(np.linspace(low, high, bands + 2), scale)


def triangles(corners: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Triangles of height 1 with corners (M + 2,), evaluated at frequencies (N,), both in Hz: (M, N)."""
    rise = (frequencies - corners[:-1, None]) / np.diff(corners)[:, None]
    return np.clip(np.minimum(rise[:-1], 1 - rise[1:]), 0, None)
