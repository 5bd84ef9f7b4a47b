"""Confidence intervals of means over clips, by the percentile bootstrap.

Clips are resampled with replacement (Efron and Tibshirani, "An introduction to the bootstrap", 1993). All clips have
equal weight, whatever their length, unless a metric is a rate over something else (words): its mean is then weighted,
which makes it a ratio of two sums. Systems are compared by paired differences, which removes the variation
between clips.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over `clips` clips and the limits of its confidence interval; all NaN if no clip is scored."""

    mean: float
    low: float
    high: float
    clips: int


def bootstrap(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Mean of the finite `values` (clips,) with its percentile bootstrap interval.

    The resamples depend only on `seed` and the number of finite values, so they are the same for every system.

    Args:
        values: (clips,), NaN where undefined.
        weights: (clips,), positive where `values` is finite; None: equal.
        resamples: number of resamples.
        level: coverage of the interval.
        seed: random seed.
    """
    values = np.asarray(values, np.float64)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, np.float64)
    scored = np.isfinite(values)
    values, weights = values[scored], weights[scored]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0)
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    means = (values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.average(values, weights=weights)), float(low), float(high), len(values))
