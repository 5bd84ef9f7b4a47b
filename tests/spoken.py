"""Synthetic speech for tests of alignment: each symbol is a noise of its own bands, with known durations."""

import numpy as np
import scipy.signal
import torch

RATE = 16000
BANDS = {"a": (300, 900), "s": (4500, 7000), "m": (80, 250), "i": (1800, 2800)}


def symbol_noise(symbol: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of a symbol; near silence for a space."""
    noise = rng.standard_normal(round(seconds * RATE) + 400)
    if symbol not in BANDS:
        return 1e-4 * noise[400:]
    filtered = scipy.signal.sosfilt(scipy.signal.butter(4, BANDS[symbol], "bandpass", fs=RATE, output="sos"), noise)[
        400:
    ]
    return 0.1 * filtered / filtered.std()


def speak(phonemes: str, seed: int) -> tuple[torch.Tensor, tuple[float, ...]]:
    """A recording (T,) of phonemes between silences, and its durations as in a manifest; marks take no time."""
    rng = np.random.default_rng(seed)
    durations = [0.0 if symbol == "ˈ" else rng.integers(50, 160) / 1000 for symbol in f" {phonemes} "]
    pieces = [symbol_noise(symbol, seconds, rng) for symbol, seconds in zip(f" {phonemes} ", durations, strict=True)]
    return torch.from_numpy(np.concatenate(pieces)).float(), tuple(durations)


def words(seed: int, count: int = 4) -> str:
    """Random words of one to four symbols, with stress marks."""
    rng = np.random.default_rng(seed)
    spoken = []
    for _ in range(count):
        symbols = rng.choice(list(BANDS), rng.integers(1, 5))
        kept = [symbol for k, symbol in enumerate(symbols) if not k or symbols[k - 1] != symbol]
        spoken.append("ˈ" * int(rng.integers(2)) + "".join(kept))
    return " ".join(spoken)
