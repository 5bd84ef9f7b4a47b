"""How sure a mean over clips is: percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993).

The clips are the sample: each counts once, however long it is, unless a metric counts something else (words): then the
mean is weighted, which makes it the ratio of two sums, and the draws are still of whole clips. Systems are compared on
differences clip by clip, which takes out what makes a clip hard for every system.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over `clips` clips and the ends of its interval; all NaN where no clip was scored."""

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
    """Mean of `values` (clips,), NaN left out, and the middle `level` of the means of `resamples` draws of them.

    The draws depend on `seed` and on how many values there are alone, so every system gets the same draws of its clips.
    `weights` (clips,), above 0 wherever a value is finite, say how much each counts; None: all alike.
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
