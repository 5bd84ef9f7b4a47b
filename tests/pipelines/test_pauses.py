"""Pauses: what is not synthesized of them is exact silence, in their middle, wherever they are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.pipelines.pauses import SYNTHESIZED_SECONDS, insert_silence, pause_seconds
from audiodiff.text.front_end import Pause, Utterance, Word

HOP, RATE = 100, 8000


def utterance(*pauses):
    return Utterance("one two", "wʌn tu", (Word("one", "wʌn", 0, 3), Word("two", "tu", 4, 6)), pauses)


@pytest.mark.parametrize(("position", "place"), [(0, 0), (4, 4), (6, 7)])
def test_silence_is_in_the_middle_of_the_symbol_that_a_pause_prolongs(position, place):
    one, frames = utterance(Pause(position, 2.5)), torch.full((8,), 40)
    samples, longer = insert_silence(torch.ones(8 * 40 * HOP), frames, one, HOP, RATE)
    silent = round((2.5 - SYNTHESIZED_SECONDS) * RATE)
    start = (place * 40 + 20) * HOP
    assert not samples[start : start + silent].any() and samples[[start - 1, start + silent]].all()
    assert len(samples) == 8 * 40 * HOP + silent == int(longer.sum()) * HOP
    assert [int(found) for found in longer] == [40 + silent // HOP * (number == place) for number in range(8)]


def test_short_pauses_are_synthesized():
    one, frames, samples = utterance(Pause(4, 0.3), Pause(4, 0.2)), torch.full((8,), 4), torch.rand(8 * 4 * HOP)
    same, equal = insert_silence(samples, frames, one, HOP, RATE)
    assert torch.equal(same[40:-40], samples[40:-40]) and torch.equal(equal, frames)


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 60)), max_size=8))
def test_any_pauses_add_up(pauses):
    one = utterance(*(Pause(*pause) for pause in sorted(pauses)))
    samples, frames = insert_silence(torch.ones(800), torch.ones(8, dtype=torch.long), one, HOP, RATE)
    added = sum(max(seconds - SYNTHESIZED_SECONDS, 0) for seconds in pause_seconds(one).values())
    assert len(samples) == int(frames.sum()) * HOP
    assert (len(samples) - 800) / RATE == pytest.approx(added, abs=8 * HOP / RATE / 2)
