"""Pitch and timing statistics of an utterance, and the level of its fricatives at high frequencies.

F0 is WORLD's (`metrics.world`). Timing needs the phonemes with their times: the mean phoneme duration is the time of
all letters of the phoneme string, with their stress and length marks, divided by the number of letters. Spaces and
punctuation are pauses and are left out, so that it measures speaking rate, not phrasing.

A deterministic acoustic model predicts the mean of all spectra that fit a phoneme, and the mean of noise is dull
(Ren et al., "Revisiting over-smoothness in text to speech", ACL 2022). Fricatives are noise, with much of their energy
above 4 kHz, so this energy, relative to the whole utterance, shows what is lost.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from audiodiff.metrics.world import f0_track

FRICATIVES = frozenset("fvθðszʃʒFVSZɕ")  # of English, and the palatalized ones of `text.russian`
HIGH_HZ = 4000.0
MIN_VOICED_FRAMES = 10  # 50 ms; fewer voiced frames have no statistics
_MIN_SECONDS = 0.01  # shorter fricatives have no level


class TimedSymbol(Protocol):
    """A symbol of a phoneme string with its start and end in seconds."""

    @property
    def symbol(self) -> str:
        """One character."""

    @property
    def start(self) -> float:
        """Seconds."""

    @property
    def end(self) -> float:
        """Seconds."""


@dataclass(frozen=True)
class Timed:
    """A symbol with its start and end in seconds."""

    symbol: str
    start: float
    end: float


def timed(phonemes: str, durations: Iterable[float]) -> list[Timed]:
    """Times of the symbols of `phonemes` from the seconds of each, the leading and the trailing silence included.

    Args:
        phonemes: N symbols.
        durations: N + 2 durations, the first and the last of silence.

    Raises:
        ValueError: another number of durations.
    """
    ends = np.cumsum(list(durations))
    if len(ends) != len(phonemes) + 2:
        raise ValueError(f"{len(phonemes)} symbols and two silences have {len(ends)} durations")
    return [Timed(*item) for item in zip(phonemes, map(float, ends), map(float, ends[1:]), strict=False)]


@dataclass(frozen=True)
class PitchStatistics:
    """F0 over the voiced frames: the median in Hz, and the standard deviation in semitones; NaN without voiced ones."""

    median: float
    spread: float


def pitch_statistics(samples: np.ndarray, sample_rate: int) -> PitchStatistics:
    """F0 statistics of `samples` (T,)."""
    f0, _ = f0_track(samples, sample_rate)
    voiced = f0[f0 > 0]
    if len(voiced) < MIN_VOICED_FRAMES:
        return PitchStatistics(np.nan, np.nan)
    return PitchStatistics(float(np.median(voiced)), float(12 * np.log2(voiced).std()))


def is_spoken(symbol: str) -> bool:
    """Whether a symbol is a phoneme or a mark of one (stress, length): not a boundary "", a space or punctuation."""
    return symbol != "" and unicodedata.category(symbol) in ("Ll", "Lu", "Lo", "Lm", "Mn", "Sk")


def mean_phoneme_seconds(symbols: Iterable[TimedSymbol]) -> float:
    """Mean duration of a phoneme in seconds, pauses left out; NaN without phonemes."""
    seconds, count = 0.0, 0
    for one in symbols:
        if is_spoken(one.symbol):
            seconds += one.end - one.start
            count += unicodedata.category(one.symbol) in ("Ll", "Lu", "Lo")
    return seconds / count if count else np.nan


def fricative_level(samples: np.ndarray, sample_rate: int, symbols: Iterable[TimedSymbol]) -> float:
    """Mean power of the fricatives above `HIGH_HZ`, in dB relative to the utterance; NaN without fricatives.

    Args:
        samples: utterance (T,).
        sample_rate: Hz, more than twice `HIGH_HZ`.
        symbols: phonemes with their times.
    """
    spans = [(one.start, one.end) for one in symbols if one.symbol in FRICATIVES and one.end - one.start > _MIN_SECONDS]
    total = float(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0
    if not spans or not total:
        return np.nan
    spectrum = np.fft.rfft(samples.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(samples), 1 / sample_rate) < HIGH_HZ] = 0
    power = np.fft.irfft(spectrum, len(samples)) ** 2
    parts = [power[round(start * sample_rate) : round(end * sample_rate)] for start, end in spans]
    inside = np.concatenate(parts)
    mean = float(inside.mean()) if len(inside) else 0.0
    return float(10 * np.log10(mean / total)) if mean else np.nan
