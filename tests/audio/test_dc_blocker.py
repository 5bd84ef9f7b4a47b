import pytest
import torch

from audiodiff.audio.dc_blocker import CUTOFF, DcBlocker

RATE = 22050


def tone(frequency: float) -> torch.Tensor:
    return torch.sin(2 * torch.pi * frequency * torch.arange(2 * RATE, dtype=torch.float64) / RATE)


def test_an_offset_decays_and_what_is_audible_passes():
    assert DcBlocker(RATE)(torch.ones(RATE))[-1].abs() < 1e-6
    for frequency, gain in ((CUTOFF, 0.5**0.5), (100, 0.995), (5000, 1.0)):
        level = DcBlocker(RATE)(tone(frequency))[RATE:].square().mean() / tone(frequency)[RATE:].square().mean()
        assert float(level.sqrt()) == pytest.approx(gain, abs=0.005)


def test_chunks_are_the_whole_and_silence_stays_silent():
    x = torch.randn(3, 2, 1000, generator=torch.Generator().manual_seed(0))
    blocker = DcBlocker(RATE)
    parts = torch.cat([blocker(chunk) for chunk in x.split([1, 0, 499, 500], -1)], -1)
    assert torch.equal(parts, DcBlocker(RATE)(x)) and parts.dtype == x.dtype
    assert not DcBlocker(RATE)(torch.zeros(2, 1, 10)).any()
