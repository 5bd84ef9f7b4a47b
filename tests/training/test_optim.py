"""The learning-rate schedule."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.training.optim import WarmupCosine


def test_rate_rises_in_equal_steps_then_follows_half_a_cosine():
    schedule = WarmupCosine(warmup_steps=4, final_ratio=0.1)
    assert [schedule.factor(step, 0.0) for step in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    for progress in (0.0, 0.25, 0.5, 1.0):
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
        assert schedule.factor(100, progress) == pytest.approx(expected)


@given(progress=st.floats(0, 2), step=st.integers(0, 10**6), warmup=st.integers(0, 1000), final=st.floats(0, 1))
def test_rate_stays_between_nothing_and_the_full_rate(progress, step, warmup, final):
    schedule = WarmupCosine(warmup, final)
    factor = schedule.factor(step, progress)
    assert 0 <= factor <= 1 + 1e-12
    assert schedule.factor(step, progress + 0.1) <= factor + 1e-12
    if step >= warmup:
        assert factor >= final - 1e-12
