"""Pitch, timing and fricative levels of signals with known ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.metrics.prosody import (
    Timed,
    fricative_level,
    is_spoken,
    mean_phoneme_seconds,
    pitch_statistics,
    timed,
)

RATE = 24000


def harmonics(f0: np.ndarray) -> np.ndarray:
    """A tone with twenty harmonics of `f0` (T,) in Hz."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 21))).astype(np.float32)


def test_pitch_of_a_steady_tone():
    found = pitch_statistics(harmonics(np.full(RATE, 150.0)), RATE)
    assert found.median == pytest.approx(150, rel=0.01) and found.spread < 0.1


def test_pitch_of_a_vibrato():
    time = np.arange(2 * RATE) / RATE
    found = pitch_statistics(harmonics(200 * 2 ** (3 * np.sin(2 * np.pi * 2 * time) / 12)), RATE)
    assert found.median == pytest.approx(200, rel=0.03)
    assert found.spread == pytest.approx(3 / math.sqrt(2), rel=0.1)  # of a sine of three semitones


def test_noise_and_silence_have_no_pitch():
    assert math.isnan(pitch_statistics(np.zeros(RATE, np.float32), RATE).median)


@given(st.lists(st.floats(0, 2), min_size=2, max_size=20))
def test_symbols_follow_each_other(durations):
    symbols = timed("ə" * (len(durations) - 2), durations)
    ends = [durations[0], *(one.end for one in symbols)]
    assert [one.start for one in symbols] == pytest.approx(ends[:-1])
    assert sum(durations) == pytest.approx(ends[-1] + durations[-1])


def test_durations_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 symbols and two silences have 3"):
        timed("ab", [0.1, 0.1, 0.1])


def test_phonemes_are_counted_without_pauses_and_marks():
    # h ə l ˈ O , _ : the stress mark's time is speech, but it is no phoneme; comma and space are pauses.
    symbols = timed("həlˈO, ", [0.3, 0.1, 0.1, 0.1, 0.05, 0.15, 0.4, 0.2, 0.3])
    assert mean_phoneme_seconds(symbols) == pytest.approx(0.5 / 4)
    assert mean_phoneme_seconds([Timed("", 0.0, 9.0), *symbols]) == mean_phoneme_seconds(symbols)  # a boundary
    assert math.isnan(mean_phoneme_seconds([])) and math.isnan(mean_phoneme_seconds(timed("..", [0.1] * 4)))
    assert [is_spoken(symbol) for symbol in (*"æʃˈˌːᵊ ,.!?—…”", "")] == [True] * 6 + [False] * 9


def test_the_level_of_fricatives():
    rng = np.random.default_rng(0)
    tone = np.sqrt(2) * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)  # power 1
    noise = rng.standard_normal(RATE)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(RATE, 1 / RATE) < 4000] = 0
    noise = np.fft.irfft(spectrum, RATE)
    noise /= noise.std()
    symbols = [Timed("ɑ", 0, 1), Timed("s", 1, 2)]
    for level in (-20.0, 0.0):
        samples = np.concatenate([tone, 10 ** (level / 20) * noise]).astype(np.float32)
        total = 10 * np.log10((1 + 10 ** (level / 10)) / 2)
        assert fricative_level(samples, RATE, symbols) == pytest.approx(level - total, abs=0.1)
        assert fricative_level(0.1 * samples, RATE, symbols) == pytest.approx(level - total, abs=0.1)  # of any gain
    assert math.isnan(fricative_level(samples, RATE, symbols[:1]))
    assert math.isnan(fricative_level(np.zeros(RATE, np.float32), RATE, symbols))
