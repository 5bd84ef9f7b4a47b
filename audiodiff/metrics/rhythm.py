"""How regular a clip beats: the autocorrelation of its onsets.

The strength of an onset is how much the log-mel spectrogram rises from one frame to the next (Dixon 2006). What repeats
shows as a peak in the autocorrelation of that curve, at the period of the beat or of a bar; its height, of that at lag
zero, says how regularly, and its lag how fast (Scheirer 1998; pulse clarity, Lartillot et al. 2008). Noise has a height
near 0, a machine's beat near 1.
"""

import librosa
import numpy as np

_HOP_SECONDS = 0.01
TEMPI = (40.0, 240.0)  # beats a minute that are looked for


def beat(samples: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Beats a minute, and how regular they are (0 to 1), of a clip (T,) or (C, T), whose channels are mixed.

    NaN and 0 for a clip that is silent or holds fewer than two of the longest periods.
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
    # Fewer pairs of frames lie further apart.
    correlation = correlation / correlation[0] * len(onsets) / np.arange(len(onsets), 0, -1)
    frames_a_minute = 60 * sample_rate / hop
    first, last = (round(frames_a_minute / tempo) for tempo in reversed(TEMPI))
    peaks = [
        lag
        for lag in range(max(first, 1), last + 1)
        if correlation[lag - 1] < correlation[lag] >= correlation[lag + 1] and correlation[lag] > 0
    ]
    if not peaks:
        return float("nan"), 0.0
    highest = max(correlation[lag] for lag in peaks)
    # Multiples of a period are as high as it is, or higher if it is no whole number of frames: the first is the beat.
    lag = next(lag for lag in peaks if correlation[lag] >= 0.7 * highest)
    return frames_a_minute / lag, float(np.clip(highest, 0, 1))
