"""Tempo: clicks have theirs, and octave errors are told from others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.metrics.tempo import OCTAVES, estimate, octave_error, offset

RATE = 16000


def clicks(tempo: float, seconds: float = 12.0, accents: int = 1) -> np.ndarray:
    """Noise bursts on the beats, of which every `accents`-th is loud."""
    random, wave = np.random.default_rng(0), np.zeros(round(seconds * RATE))
    for number in range(int(seconds * tempo / 60)):
        start = round(number * 60 / tempo * RATE)
        burst = np.exp(-np.arange(800) / 100) * random.standard_normal(800) * (1.0 if number % accents == 0 else 0.3)
        wave[start : start + 800] += burst[: len(wave) - start]
    return wave


@settings(max_examples=25, deadline=None)
@given(st.floats(70, 160))
def test_clicks_have_their_tempo_within_a_hundredth(tempo):
    found = estimate(clicks(tempo), RATE)
    assert min(abs(found / (ratio * tempo) - 1) for ratio in (1, 0.5, 2)) < 0.01
    assert octave_error(found, tempo) is not None


@pytest.mark.parametrize("tempo", [86, 100, 120, 140])
def test_usual_tempi_are_no_octave_errors(tempo):
    assert octave_error(estimate(clicks(tempo), RATE), tempo) == 1
    assert octave_error(estimate(clicks(tempo, accents=4), RATE), tempo) == 1


@pytest.mark.parametrize(("tempo", "share"), [(70, 0.0), (97.3, 0.2), (160, 0.4)])
def test_clicks_that_begin_later_are_off_the_beat_by_as_much(tempo, share):
    late = share * 60 / tempo
    wave = np.pad(clicks(tempo), (round(late * RATE), 0))
    assert abs(offset(wave, RATE, tempo) - late) < 0.025
    early = wave[round((late + 0.75 * 60 / tempo) * RATE) :]  # the next click is a quarter of a beat later
    assert abs(offset(early, RATE, tempo) - 0.25 * 60 / tempo) < 0.025


def test_level_and_channels_do_not_matter():
    wave = clicks(97.0)
    assert estimate(0.01 * wave, RATE) == pytest.approx(estimate(wave, RATE), rel=0.01)
    assert estimate(np.stack([wave, wave]), RATE) == pytest.approx(estimate(wave, RATE), rel=1e-6)


def test_silence_a_constant_and_a_short_clip_have_no_tempo():
    for wave in (np.zeros(8 * RATE), clicks(100, 2.0)):
        assert np.isnan(offset(wave, RATE, 100.0))
        assert np.isnan(estimate(wave, RATE)) and octave_error(estimate(wave, RATE), 100) is None


@pytest.mark.parametrize("rate", [1, 10, 50])
def test_a_sample_rate_without_a_sample_every_10_ms_has_no_tempo(rate):
    assert np.isnan(estimate(np.random.default_rng(0).standard_normal(60 * rate), rate))


@pytest.mark.parametrize("ratio", OCTAVES)
def test_an_octave_error_is_named(ratio):
    assert octave_error(ratio * 100 * 1.039, 100) == octave_error(ratio * 100 * 0.961, 100) == ratio
    assert octave_error(ratio * 100 * 1.05, 100) is None
