"""Few steps against many: paired differences of two sets of clips with the same seeds, and their intervals."""

import numpy as np
import pytest
from steps import paired

from audiodiff.metrics.distribution import frechet


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.mean() - b.mean())


def test_the_same_clips_do_not_differ():
    clips, real = (np.random.default_rng(seed).standard_normal((40, 3)) for seed in (0, 1))
    found = paired(frechet, clips, clips, real)
    assert (found.median, found.low, found.high) == (0, 0, 0)


def test_paired_intervals_are_narrow_and_cover_the_true_difference():
    """Variation between seeds cancels: 95 % of the intervals cover the difference, and they are narrow."""
    held, widths = 0, []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        many, real = 5 * rng.standard_normal((40, 1)), rng.standard_normal((30, 1))
        few = many + 0.3 + 0.1 * rng.standard_normal((40, 1))
        found = paired(mean_difference, few, many, real, seed=trial)
        held += found.low <= 0.3 <= found.high
        widths.append(found.high - found.low)
    assert held / 200 == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 200) ** 0.5)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.1 / 40**0.5, rel=0.15)
