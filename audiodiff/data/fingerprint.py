"""Fingerprints of short sounds, by which the audit finds near-duplicates: one sound at other levels and lengths.

A fingerprint is the spectrogram of the first second from the onset on, in bands of equal ratio and steps of equal time,
in decibels down to a floor below the peak; without its mean, and of length 1. The cosine of two of them is 1 for the
same sound at any level, and does not depend on what follows or precedes. Similarity is a reason to listen, no proof.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

BANDS, STEPS = 24, 24
SIMILAR = 0.985  # cosine of near-duplicates; those of two strokes on one drum are around 0.98
_SECONDS = 1.0
_LOWEST, _HIGHEST = 60.0, 9000.0  # Hz: below the Nyquist frequency of most corpora
_WINDOW_SECONDS = 0.046
_FLOOR_DB = 50.0
_ONSET_DB = 26.0  # below the peak
_CHUNK = 512


def fingerprint(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The fingerprint of samples (T,) or (C, T): (BANDS * STEPS,) float32 of length 1; zeros for silence."""
    x = np.atleast_2d(samples).astype(np.float64).mean(0)
    peak = float(np.abs(x).max(initial=0.0))
    if peak == 0:
        return np.zeros(BANDS * STEPS, np.float32)
    window, hop = round(_WINDOW_SECONDS * sample_rate), max(1, round(_SECONDS * sample_rate / STEPS))
    onset = int(np.argmax(np.abs(x) > peak * 10 ** (-_ONSET_DB / 20)))
    x = np.pad(x, (window // 2, window + STEPS * hop))[onset : onset + window + STEPS * hop]
    frames = np.stack([x[place * hop : place * hop + window] for place in range(STEPS)]) * np.hanning(window)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.geomspace(_LOWEST, _HIGHEST, BANDS + 1) * window / sample_rate
    edges = np.clip(np.round(edges).astype(int), 0, power.shape[1] - 1)
    bands = np.stack([power[:, low : max(high, low + 1)].mean(1) for low, high in pairwise(edges)])
    decibels = 10 * np.log10(np.maximum(bands / bands.max(), 10 ** (-_FLOOR_DB / 10)))
    centered = decibels.ravel() - decibels.mean()
    return (centered / max(float(np.linalg.norm(centered)), 1e-9)).astype(np.float32)


def near_duplicates(prints: Sequence[np.ndarray]) -> list[tuple[int, int, float]]:
    """All pairs of similar fingerprints: the place of the later and of the earlier one, and the cosine."""
    if len(prints) < 2:
        return []
    table, found = np.stack(prints), []
    for start in range(0, len(table), _CHUNK):
        rows = table[start : start + _CHUNK]
        cosines = np.tril(rows @ table[: start + len(rows)].T, start - 1)
        for place, other in np.argwhere(cosines > SIMILAR):
            found.append((start + int(place), int(other), float(cosines[place, other])))
    return found
