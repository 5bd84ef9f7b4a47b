"""Pitch shifts of speech whose F0 is known: TD-PSOLA.

The waveform is cut at pitch marks, one a period, into grains of two periods with a Hann window, which are laid at the
marks of the new pitch, each mark taking the closest grain. Spectral envelope (formants) and timing stay. After Moulines
and Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech synthesis using diphones", Speech
Communication 9, 1990. Marks come from the phase of the F0 contour, so the new F0 is the old contour times a factor,
exactly. Unvoiced parts have marks at the F0 of the voiced ones around them and are not shifted.
"""

import numpy as np


def shift_pitch(samples: np.ndarray, f0: np.ndarray, sample_rate: int, semitones: float) -> np.ndarray:
    """Shift the pitch of speech; what is voiced keeps its power.

    Args:
        samples: waveform (T,).
        f0: Hz at the centers of F equal parts of it (F,), 0 where it is unvoiced.
        sample_rate: Hz.
        semitones: above 0 is higher.

    Returns:
        Waveform (T,), float32; a copy of `samples` if nothing is voiced.
    """
    voiced_parts = np.flatnonzero(f0 > 0)
    if not len(voiced_parts):
        return samples.astype(np.float32)
    part = (np.arange(len(samples)) + 0.5) * len(f0) / len(samples) - 0.5
    contour = np.exp(np.interp(part, voiced_parts, np.log(f0[voiced_parts])))
    voiced = np.interp(part, np.arange(len(f0)), f0 > 0) > 0.5
    marks = _marks(contour, sample_rate)
    new_marks = _marks(np.where(voiced, contour * 2 ** (semitones / 12), contour), sample_rate)
    found = np.zeros((2, len(samples)))  # of unvoiced and voiced grains
    if len(marks) > 2:
        closest = np.searchsorted((marks[1:] + marks[:-1]) / 2, new_marks).clip(1, len(marks) - 2)
        for mark, grain in zip(new_marks, closest, strict=True):
            _add_grain(found[int(voiced[mark])], samples, marks[grain - 1 : grain + 2], mark)
    power, new_power = np.sum(np.square(samples[voiced], dtype=np.float64)), np.sum(found[1] ** 2)
    gain = np.sqrt(power / new_power) if new_power else 1.0
    return (found[0] + gain * found[1]).astype(np.float32)


def _marks(f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """The samples at which the phase of a contour (T,) passes a whole number of periods."""
    return np.flatnonzero(np.diff(np.floor(np.cumsum(f0) / sample_rate), prepend=0.0) > 0)


def _add_grain(target: np.ndarray, samples: np.ndarray, marks: np.ndarray, at: int) -> None:
    """Add the grain around the second of three marks to `target`, so that this mark comes to lie at `at`."""
    start, center, end = marks
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(center - start) / (center - start))
    fall = 0.5 + 0.5 * np.cos(np.pi * np.arange(end - center) / (end - center))
    grain = samples[start:end] * np.concatenate((rise, fall))
    first = at - (center - start)
    cut = max(0, -first), min(end - start, len(target) - first)
    target[first + cut[0] : first + cut[1]] += grain[cut[0] : cut[1]]
