"""Wide-band PESQ: perceptual evaluation of speech quality (ITU-T P.862 with the mapping of P.862.2, 16 kHz)."""

import numpy as np

from audiodiff.extras import load_module
from audiodiff.metrics.rates import at_rate

SAMPLE_RATE = 16000
WORST = 0.999  # P.862.2 maps the raw score r to 0.999 + 4 / (1 + exp(-1.3669 r + 3.8224))


def pesq_wb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """MOS-LQO of P.862.2 for `estimate` (T,) of `reference` (T,): `WORST` to 4.64.

    A silent estimate scores `WORST`. NaN if PESQ finds no utterance in the pair, or the clips are shorter than 0.25 s.
    """
    pesq = load_module("pesq")
    if not estimate.any():
        return WORST
    reference, estimate = (at_rate(x, sample_rate, SAMPLE_RATE) for x in (reference, estimate))
    try:
        return float(pesq.pesq(SAMPLE_RATE, reference, estimate, "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return float("nan")
