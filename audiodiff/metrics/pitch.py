"""Pitch error and voicing F1."""

import numpy as np

from audiodiff.metrics.world import f0_track

MIN_FRAMES = 10  # 50 ms; fewer voiced frames are too few for a score


def log_f0_rmse(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Root mean square of 1200 log2(F0 / reference F0), cents, over frames voiced in both; NaN below `MIN_FRAMES`."""
    f0, _ = f0_track(reference, sample_rate)
    f0_hat, _ = f0_track(estimate, sample_rate)
    both = (f0 > 0) & (f0_hat > 0)
    if both.sum() < MIN_FRAMES:
        return float("nan")
    return float(np.sqrt(np.mean((1200 * np.log2(f0_hat[both] / f0[both])) ** 2)))


def voicing_f1(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """F1 score (0 to 1) of the estimate's voiced frames; NaN if the reference has fewer than `MIN_FRAMES`."""
    voiced = f0_track(reference, sample_rate)[0] > 0
    voiced_hat = f0_track(estimate, sample_rate)[0] > 0
    if voiced.sum() < MIN_FRAMES:
        return float("nan")
    return float(2 * (voiced & voiced_hat).sum() / (voiced.sum() + voiced_hat.sum()))
