"""WORLD analysis of speech: F0, spectral envelope, aperiodicity (Morise, Yokomori and Ozawa, IEICE E99-D(7), 2016).

F0 is DIO refined by StoneMask: twenty times faster than Harvest and less prone to report noise as voiced; 71 to 800 Hz,
WORLD's default range. Frames are 5 ms apart. The last few results are cached: several metrics analyze one signal, and
all systems are compared with one recording.
"""

from functools import lru_cache

import numpy as np

from audiodiff.extras import load_module


@lru_cache(maxsize=8)
def _f0(samples: bytes, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    world = load_module("pyworld")
    waveform = np.frombuffer(samples, np.float64)
    coarse, times = world.dio(waveform, sample_rate)
    f0 = world.stonemask(waveform, coarse, times, sample_rate)
    f0.flags.writeable = times.flags.writeable = False
    return f0, times


def f0_track(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz (0 where unvoiced) and times in seconds, both (frames,), of `samples` (T,)."""
    return _f0(samples.astype(np.float64).tobytes(), sample_rate)


@lru_cache(maxsize=8)
def _envelope(samples: bytes, sample_rate: int) -> np.ndarray:
    waveform = np.frombuffer(samples, np.float64)
    f0, times = (track.copy() for track in _f0(samples, sample_rate))
    power = load_module("pyworld").cheaptrick(waveform, f0, times, sample_rate)
    power.flags.writeable = False
    return power


def envelope(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """CheapTrick's power spectral envelope (frames, bins) of `samples` (T,); read-only."""
    return _envelope(samples.astype(np.float64).tobytes(), sample_rate)


def resynthesize(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """WORLD's copy synthesis of `samples` (T,): analysis (with D4C aperiodicity) and synthesis; float32 (T,)."""
    world = load_module("pyworld")
    waveform = samples.astype(np.float64)
    f0, times = (track.copy() for track in f0_track(samples, sample_rate))
    aperiodicity = world.d4c(waveform, f0, times, sample_rate)
    synthesized = world.synthesize(f0, envelope(samples, sample_rate).copy(), aperiodicity, sample_rate)
    return np.pad(synthesized, (0, max(0, len(samples) - len(synthesized))))[: len(samples)].astype(np.float32)
