"""STOI: short-time objective intelligibility (Taal, Hendriks, Heusdens and Jensen, IEEE TASLP 19(7), 2011)."""

import warnings

import numpy as np

from audiodiff.extras import load_module


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Mean correlation of third-octave envelopes in spans of 384 ms, at most 1; pystoi resamples to 10 kHz.

    NaN if less than one span is left after removing the reference's silent frames (40 dB below its loudest).
    """
    pystoi = load_module("pystoi")
    with warnings.catch_warnings():
        # pystoi returns 1e-5 in this case, which would look like a score.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, estimate, sample_rate))
        except RuntimeWarning:
            return float("nan")
