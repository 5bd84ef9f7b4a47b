"""The two mel scales, and triangular filters whose corners are spaced evenly on them.

Slaney's (Auditory Toolbox, 1998) is linear up to 1 kHz, 200/3 Hz a mel, and logarithmic above, 27 mels for each factor
of 6.4; HTK's is 2595 log10(1 + f / 700). Tests hold both equal to librosa's. Importing that library's filters takes two
seconds, ten times what else there is to loading a vocoder.
"""

import numpy as np

_BREAK_HZ, _HZ_PER_MEL, _MELS_PER_NEPER = 1000.0, 200 / 3, 27 / np.log(6.4)


def mel_from_hz(hz: np.ndarray | float, scale: str) -> np.ndarray:
    """Mels of frequencies; `scale` is "slaney" or "htk"."""
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    beyond = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ)
    return np.minimum(hz, _BREAK_HZ) / _HZ_PER_MEL + beyond * _MELS_PER_NEPER


def hz_from_mel(mels: np.ndarray | float, scale: str) -> np.ndarray:
    """The inverse of `mel_from_hz`."""
    mels = np.asarray(mels, dtype=np.float64)
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    at_break = _BREAK_HZ / _HZ_PER_MEL
    beyond = np.maximum(mels - at_break, 0) / _MELS_PER_NEPER
    return np.minimum(mels, at_break) * _HZ_PER_MEL * np.exp(beyond)


def corners(bands: int, f_min: float, f_max: float, scale: str) -> np.ndarray:
    """Where `bands` triangles begin, peak and end, in Hz, (bands + 2,): band i has corners i, i + 1 and i + 2."""
    return hz_from_mel(np.linspace(*mel_from_hz([f_min, f_max], scale), bands + 2), scale)


def triangles(corners: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Triangles of height 1 between corners (M + 2,), read at frequencies (N,), both in Hz: (M, N)."""
    rise = (frequencies - corners[:-1, None]) / np.diff(corners)[:, None]
    return np.clip(np.minimum(rise[:-1], 1 - rise[1:]), 0, None)
