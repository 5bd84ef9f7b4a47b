"""Signals of known pitch."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tone():
    """`tone(f0, seconds, sample_rate)`: harmonics that fall by 6 dB per octave, (T,) float32."""

    def harmonics(f0: float, seconds: float = 1.0, sample_rate: int = 16000) -> np.ndarray:
        time = np.arange(round(seconds * sample_rate)) / sample_rate
        order = np.arange(1, int(7800 / f0))
        return (0.2 * np.sin(2 * np.pi * f0 * order[:, None] * time) / order[:, None]).sum(0).astype(np.float32)

    return harmonics
