"""The pitch of each symbol: that of the tone that is played there, 0 in silence and noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.data.prosody import symbol_pitch

RATE = 24000


def buzz(f0: float, seconds: float) -> np.ndarray:
    """A harmonic sound, as of a voice."""
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.05 * sum(np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, 8))


def test_each_part_has_the_pitch_of_its_tone():
    noise = 0.05 * np.random.default_rng(0).standard_normal(RATE // 5)
    parts = [np.zeros(RATE // 5), buzz(120, 0.3), noise, buzz(150, 0.2), np.zeros(RATE // 10)]
    pitch = symbol_pitch(Audio(np.concatenate(parts), RATE), [len(part) / RATE for part in parts])
    assert len(pitch) == 5 and pitch[0] == pitch[2] == pitch[4] == 0
    assert pitch[1] == pytest.approx(120, rel=0.02) and pitch[3] == pytest.approx(150, rel=0.02)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=12), st.floats(80, 300), st.sampled_from([16000, 24000]))
def test_parts_of_any_duration_have_a_pitch_each(durations, f0, rate):
    samples = round(sum(durations) * rate) + 1
    audio = Audio(0.3 * np.sin(2 * np.pi * f0 * np.arange(samples) / rate), rate)
    pitch = symbol_pitch(audio, durations)
    assert len(pitch) == len(durations)
    assert all(one == 0 or 55 <= one <= 550 for one in pitch)
