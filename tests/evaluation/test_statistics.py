"""The bootstrap on distributions with a known mean."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.evaluation.statistics import bootstrap


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential"])
def test_coverage_is_nominal(draw):
    # 600 experiments of 50 clips: 95 % of the intervals cover the true mean, except for the percentile method's known
    # shortfall at n = 50 (about 0.01, more for skewed values) and chance (a standard error of 0.009).
    rng, truth = np.random.default_rng(0), 0.0 if draw == "standard_normal" else 1.0
    found = [bootstrap(getattr(rng, draw)(50), resamples=1000, seed=i) for i in range(600)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.91 < covered < 0.97


def test_width_follows_the_standard_error():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_a_higher_level_is_wider():
    values = np.random.default_rng(0).standard_normal(50)
    narrow, wide = bootstrap(values, level=0.5), bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_nan_is_excluded_and_not_counted():
    values = np.array([1.0, np.nan, 3.0, np.nan])
    assert bootstrap(values) == bootstrap(np.array([1.0, 3.0]))
    assert bootstrap(values).clips == 2


def test_no_scores_give_nan():
    found = bootstrap(np.array([np.nan, np.nan]))
    assert found.clips == 0 and math.isnan(found.mean) and math.isnan(found.low)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_intervals_are_within_the_values_and_reproducible(values):
    found = bootstrap(np.array(values), resamples=200)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found == bootstrap(np.array(values), resamples=200)
    assert found != bootstrap(np.array(values), resamples=200, seed=1) or found.low == found.high or len(values) < 30
