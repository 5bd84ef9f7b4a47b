"""Durations of teachers: frames as seconds, moved by the lag of the frames, with the same sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.corpora.teacher import FRAME_SECONDS, LAG_SECONDS, symbol_durations


@given(st.lists(st.integers(0, 40), min_size=2, max_size=30))
def test_durations_keep_their_sum_and_are_never_negative(frames):
    durations = symbol_durations(frames)
    assert sum(durations) == pytest.approx(sum(frames) * FRAME_SECONDS, abs=1e-4)
    assert len(durations) == len(frames) and min(durations) >= 0
    assert durations[1:-1] == tuple(round(count * FRAME_SECONDS, 6) for count in frames[1:-1])


def test_labels_move_to_the_sound():
    assert symbol_durations([14, 2, 1]) == pytest.approx((0.35 - LAG_SECONDS, 0.05, 0.025 + LAG_SECONDS))
