"""Pauses: what is not synthesized of them is exact silence, in their middle, wherever they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.pipelines.pauses import SYNTHESIZED_SECONDS, insert_silence, pause_seconds
from audiodiff.text.front_end import Pause, Utterance, Word

RATE = 8000
SYMBOL = 0.5  # seconds of each of the eight symbols


def utterance(*pauses):
    return Utterance("one two", "wʌn tu", (Word("one", "wʌn", 0, 3), Word("two", "tu", 4, 6)), pauses)


def audio(fill=torch.ones):
    return Audio(fill(round(8 * SYMBOL * RATE)), RATE), torch.full((8,), SYMBOL)


@pytest.mark.parametrize(("position", "place"), [(0, 0), (4, 4), (6, 7)])
def test_silence_is_in_the_middle_of_the_symbol_that_a_pause_prolongs(position, place):
    found, longer = insert_silence(*audio(), utterance(Pause(position, 2.5)))
    silent, samples = round((2.5 - SYNTHESIZED_SECONDS) * RATE), found.samples
    start = round((place + 0.5) * SYMBOL * RATE)
    assert not samples[start : start + silent].any() and samples[[start - 1, start + silent]].all()
    assert len(samples) == 8 * SYMBOL * RATE + silent
    assert longer.tolist() == [SYMBOL + (silent / RATE if number == place else 0) for number in range(8)]


def test_short_pauses_are_synthesized():
    usual, durations = audio(torch.rand)
    found, longer = insert_silence(usual, durations, utterance(Pause(4, 0.3), Pause(4, 0.2)))
    assert torch.equal(found.samples[40:-40], usual.samples[40:-40]) and torch.equal(longer, durations)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 5)), max_size=8))
def test_any_pauses_add_up(pauses):
    one = utterance(*(Pause(*pause) for pause in sorted(pauses)))
    found, longer = insert_silence(*audio(), one)
    added = sum(max(seconds - SYNTHESIZED_SECONDS, 0) for seconds in pause_seconds(one).values())
    assert found.seconds == pytest.approx(8 * SYMBOL + added, abs=8 / RATE)
    assert found.seconds == pytest.approx(float(longer.sum()), abs=1e-4)
