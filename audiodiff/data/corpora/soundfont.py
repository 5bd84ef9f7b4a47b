"""Notes played on a soundfont, by tinysoundfont."""

from typing import Any

import numpy as np

TAIL_SECONDS = 2.0  # after the last release

Notes = list[tuple[float, float, int, int]]  # start and end in seconds, MIDI key, velocity


def play(synth: Any, notes: Notes, sample_rate: int) -> np.ndarray:
    """Play notes on channel 0 of a `tinysoundfont.Synth` whose program is selected: (T, 2) float32."""
    # Simultaneous events: notes end before others begin, so that a repeated note sounds twice.
    events = sorted([(end, 0, key, 0) for _, end, key, _ in notes] + [(t, 1, key, v) for t, _, key, v in notes])
    pieces, now = [], 0
    for seconds, begins, key, velocity in [*events, (events[-1][0] + TAIL_SECONDS, 2, 0, 0)]:
        if (samples := round(seconds * sample_rate) - now) > 0:
            pieces.append(np.frombuffer(synth.generate(samples), np.float32).copy())
            now += samples
        if begins == 1:
            synth.noteon(0, key, velocity)
        elif begins == 0:
            synth.noteoff(0, key)
    return np.concatenate(pieces).reshape(-1, 2)
