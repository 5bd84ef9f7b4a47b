"""The restorer that comes with the package: what is degraded comes closer to the original."""

import math

import pytest
import torch

from audiodiff import Restorer
from audiodiff.audio.io import Audio
from audiodiff.audio.spectral import si_sdr

RATE = 16000


@pytest.fixture(scope="module")
def restorer():
    return Restorer.from_pretrained("restore-speech")


def vowel(seconds: float = 1.5) -> torch.Tensor:
    """Harmonics of a gliding pitch under three formants, in syllables."""
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    phase, pitch = 2 * math.pi * (120 * t + 10 * t.square()), 120 + 20 * t
    total = torch.zeros_like(t)
    for k in range(1, 50):
        hertz = k * pitch
        gain = sum(1 / (1 + ((hertz - center) / width) ** 2) for center, width in ((600, 90), (1200, 110), (2500, 200)))
        total += gain * torch.sin(k * phase) * (hertz < 7500)
    total = total * torch.sin(2 * math.pi * 2 * t).square()
    return (0.4 * total / total.abs().max()).float()


@pytest.mark.parametrize("decibels", [0, 10])
def test_noise_is_reduced(restorer, decibels):
    clip, noise = vowel(), torch.randn(round(1.5 * RATE), generator=torch.Generator().manual_seed(0))
    noisy = clip + noise * clip.norm() / noise.norm() * 10 ** (-decibels / 20)
    restored = restorer.restore(Audio(noisy, RATE), denoise=True).samples
    assert si_sdr(restored, clip) > si_sdr(noisy, clip) + 1.5


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_peaks_are_restored(restorer, share):
    clip = vowel()
    level = share * float(clip.abs().max())
    clipped = clip.clamp(-level, level)
    restored = restorer.restore(Audio(clipped, RATE), declip=True).samples
    assert (restored - clip).norm() < 0.9 * (clipped - clip).norm()


def test_gaps_are_filled(restorer):
    clip = vowel()
    broken, start, stop = clip.clone(), round(0.36 * RATE), round(0.39 * RATE)
    broken[start:stop] = 0
    restored = restorer.restore(Audio(broken, RATE), fill=["0.36:0.39"]).samples
    assert (restored - clip).norm() < 0.75 * (broken - clip).norm()
    assert torch.equal(restored[:start], clip[:start]) and torch.equal(restored[stop:], clip[stop:])
