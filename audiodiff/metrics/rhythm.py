"""Tempo and pulse clarity of a clip, from the autocorrelation of its onset strength.

Onset strength is the rise of the log-mel spectrogram from one frame to the next (Dixon 2006). Its autocorrelation has a
peak at the period of the beat or of a bar; the peak's lag is the tempo, its height relative to lag zero the pulse
clarity (Scheirer 1998; Lartillot et al. 2008): near 0 for noise, near 1 for a drum machine.
"""

import librosa
import numpy as np

_HOP_SECONDS = 0.01
TEMPI = (40.0, 240.0)  # BPM, range of the search


def beat(samples: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Tempo in BPM and pulse clarity (0 to 1) of a clip (T,) or (C, T), mixed to mono.

    NaN and 0 for a clip that is silent or shorter than two of the longest periods.
    """
    mono = np.atleast_2d(np.asarray(samples, np.float32)).mean(0)
    hop = round(_HOP_SECONDS * sample_rate)
    if len(mono) < 2 * 60 / TEMPI[0] * sample_rate or not mono.any():
        return float("nan"), 0.0
    onsets = librosa.onset.onset_strength(y=mono, sr=sample_rate, hop_length=hop)
    onsets = onsets - onsets.mean()
    correlation = np.correlate(onsets, onsets, "full")[len(onsets) - 1 :]
    if not correlation[0] > 0:
        return float("nan"), 0.0
    # There are fewer pairs of frames at larger lags.
    correlation = correlation / correlation[0] * len(onsets) / np.arange(len(onsets), 0, -1)
    frames_per_minute = 60 * sample_rate / hop
    first, last = (round(frames_per_minute / tempo) for tempo in reversed(TEMPI))
    peaks = [
        lag
        for lag in range(max(first, 1), last + 1)
        if correlation[lag - 1] < correlation[lag] >= correlation[lag + 1] and correlation[lag] > 0
    ]
    if not peaks:
        return float("nan"), 0.0
    highest = max(correlation[lag] for lag in peaks)
    # Multiples of the period have peaks as high, or higher if it is not a whole number of frames: take the first.
    lag = next(lag for lag in peaks if correlation[lag] >= 0.7 * highest)
    return frames_per_minute / lag, float(np.clip(highest, 0, 1))
