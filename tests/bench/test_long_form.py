"""The seam test finds seams where there are some, and none where there are none."""

import numpy as np
from long_form import flux, seam_test

RATE = 16000


def noise(seed: int, samples: int = 8 * RATE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, samples))


def test_noise_has_no_seams_and_a_gap_is_one():
    clips, seams = [noise(seed) for seed in range(4)], [RATE * second for second in range(1, 8)]
    p, ratio = seam_test(clips, seams, RATE)
    assert p > 0.01 and 0.8 < ratio < 1.25
    for clip in clips:
        for seam in seams:
            clip[:, seam - 600 : seam] *= 0.01
    p, ratio = seam_test(clips, seams, RATE)
    assert p < 1e-6 and ratio > 1.5


def test_flux_is_where_sound_begins():
    clip = noise(0, 2 * RATE)
    clip[:, :RATE] *= 0.001
    assert abs(int(flux(clip, RATE).argmax()) * 256 - RATE) < 1024
