"""Prosody of a recording: the pitch of each of its symbols, measured on the audio by one rule for every corpus.

A frame is voiced if YIN's aperiodicity is below a threshold; a symbol's pitch is the median over its voiced frames. A
symbol that is voiced for less than half of its frames is unvoiced. Frames that stray by more than an octave from the
median of the recording are errors of the estimator (period doubling and halving) and are left out.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.pitch import yin

FRAME_SECONDS = 0.005
APERIODICITY = 0.2  # of a voiced frame, at most
VOICED_FRACTION = 0.5  # of a symbol's frames, at least
_OCTAVE = 2.0


def symbol_pitch(audio: Audio, durations: Sequence[float]) -> tuple[float, ...]:
    """Median F0 of the voiced frames of each part of a recording.

    Args:
        audio: the recording, mono or stereo.
        durations: seconds of each part, in order.

    Returns:
        Hz for each part, rounded to 0.1; 0 where it is unvoiced or shorter than a frame.
    """
    waveform = torch.as_tensor(audio.samples).float()
    waveform = waveform.mean(0) if waveform.ndim > 1 else waveform
    hop = round(FRAME_SECONDS * audio.sample_rate)
    frames = len(waveform) // hop + 1
    f0, aperiodicity = (values[0].numpy() for values in yin(waveform[None], audio.sample_rate, hop, frames))
    voiced = aperiodicity < APERIODICITY
    if voiced.any():
        ratio = f0 / np.median(f0[voiced])
        voiced &= (ratio > 1 / _OCTAVE) & (ratio < _OCTAVE)
    edges = np.round(np.cumsum([0.0, *durations]) * audio.sample_rate / hop).astype(int).clip(0, frames)
    return tuple(_median(f0[a:b], voiced[a:b]) for a, b in pairwise(edges))


def _median(f0: np.ndarray, voiced: np.ndarray) -> float:
    if not len(voiced) or voiced.mean() < VOICED_FRACTION:
        return 0.0
    return round(float(np.median(f0[voiced])), 1)
