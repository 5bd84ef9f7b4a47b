"""Tempo of a clip, and whether it is the one that was asked for.

The estimate is that of librosa: the autocorrelation of the onset strength, weighted by how usual a tempo is (a
log-normal prior around 120 beats per minute, one octave wide; Ellis 2007), over the whole clip. Onset strength has a
frame every 10 ms, and the peak is interpolated by a parabola.

Which multiple of the beat listeners tap to is ambiguous. Therefore two accuracies are usual (Gouyon et al. 2006,
"An experimental comparison of audio tempo induction algorithms"), with a tolerance of 4 %: the first counts the tempo
itself, the second also its double, triple, half and third ("octave errors").
"""

import math

import librosa
import numpy as np

TOLERANCE = 0.04  # of the tempo
OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)  # ratios that the second accuracy allows
MIN_SECONDS = 3.0  # two periods of the slowest tempo
_HOP_SECONDS = 0.01
_USUAL = 120.0  # BPM
_SLOWEST, _FASTEST = 40.0, 240.0


def estimate(samples: np.ndarray, sample_rate: int) -> float:
    """Tempo in BPM of a clip (T,) or (C, T), mixed to mono; NaN of one that is silent, too short or without
    onsets, or of so low a sample rate that 10 ms have no sample."""
    found = _onsets(samples, sample_rate)
    if found is None:
        return float("nan")
    onsets, hop = found
    spectrum = np.fft.rfft(onsets, 2 * len(onsets))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(onsets)] / np.arange(len(onsets), 0, -1)
    frames_per_minute = 60 * sample_rate / hop
    lags = np.arange(math.ceil(frames_per_minute / _FASTEST), math.floor(frames_per_minute / _SLOWEST) + 1)
    octaves = np.log2(frames_per_minute / lags / _USUAL)
    weighted = correlation[lags].clip(min=0) * np.exp(-0.5 * octaves**2)
    if not weighted.max() > 0:
        return float("nan")
    lag = int(lags[weighted.argmax()])
    before, peak, after = correlation[lag - 1 : lag + 2]
    curvature = before - 2 * peak + after
    shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return frames_per_minute / (lag + float(np.clip(shift, -0.5, 0.5)))


def offset(samples: np.ndarray, sample_rate: int, tempo: float) -> float:
    """Seconds from the beats of a tempo, the first of which is at 0, to those of a clip (T,) or (C, T).

    The phase of the onset strength at the tempo's frequency: from minus half a beat to half a beat. NaN as `estimate`.
    """
    found = _onsets(samples, sample_rate)
    if found is None:
        return float("nan")
    onsets, hop = found
    turns = np.arange(len(onsets)) * hop / sample_rate * tempo / 60
    return float(-np.angle(np.sum(onsets * np.exp(-2j * np.pi * turns))) / (2 * np.pi) * 60 / tempo)


def _onsets(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int] | None:
    """Onset strength of a clip around its mean, and samples from value to value; None of one without a tempo."""
    mono = np.atleast_2d(np.asarray(samples, np.float32)).mean(0)
    hop = round(_HOP_SECONDS * sample_rate)
    if hop == 0 or len(mono) < MIN_SECONDS * sample_rate or not mono.any():
        return None
    onsets = librosa.onset.onset_strength(y=mono, sr=sample_rate, hop_length=hop)
    return onsets - onsets.mean(), hop


def octave_error(estimated: float, wanted: float) -> float | None:
    """The ratio, of `OCTAVES`, at which an estimate is within the tolerance of the wanted tempo: 1 where it is that
    tempo; None where there is none."""
    ratios = [ratio for ratio in OCTAVES if abs(estimated / (ratio * wanted) - 1) <= TOLERANCE]
    return ratios[0] if ratios else None
