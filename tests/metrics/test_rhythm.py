"""Tempo and pulse clarity."""

import numpy as np
import pytest

from audiodiff.metrics.rhythm import beat

RATE = 16000


def clicks(tempo: float, seconds: float = 8.0, jitter: float = 0.0) -> np.ndarray:
    rng, wave = np.random.default_rng(0), np.zeros(round(seconds * RATE))
    for number in range(int(seconds * tempo / 60)):
        start = round((number * 60 / tempo + jitter * rng.uniform(-1, 1)) * RATE)
        burst = np.exp(-np.arange(800) / 100) * rng.standard_normal(800)
        start = max(start, 0)
        wave[start : start + 800] += burst[: len(wave) - start][: len(wave[start : start + 800])]
    return wave


@pytest.mark.parametrize("tempo", [60, 96, 120, 180])
def test_regular_clicks_have_their_tempo_and_a_clear_pulse(tempo):
    found, strength = beat(clicks(tempo), RATE)
    assert min(abs(found / tempo - ratio) for ratio in (0.5, 1, 2)) < 0.03
    assert strength > 0.8


def test_jitter_and_noise_lower_the_pulse_clarity():
    regular, loose = beat(clicks(120), RATE)[1], beat(clicks(120, jitter=0.15), RATE)[1]
    noise = beat(np.random.default_rng(1).standard_normal(8 * RATE), RATE)[1]
    assert regular > loose > noise and noise < 0.4


def test_level_and_channels_do_not_matter():
    wave = clicks(100)
    assert beat(0.01 * wave, RATE) == pytest.approx(beat(wave, RATE), rel=0.05)
    assert beat(np.stack([wave, wave]), RATE) == pytest.approx(beat(wave, RATE), rel=1e-6)


def test_silence_a_constant_and_a_short_clip_have_no_tempo():
    for wave in (np.zeros(8 * RATE), np.ones(8 * RATE), clicks(100, 1.0)):
        tempo, strength = beat(wave, RATE)
        assert np.isnan(tempo) and strength == 0
