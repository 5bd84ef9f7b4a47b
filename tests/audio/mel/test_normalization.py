"""Normalization of mels: inverse within its range, bounded beyond."""

import pytest
import torch

from audiodiff.audio.mel.normalization import CEILING, MelNormalization


@pytest.fixture
def normalization():
    generator = torch.Generator().manual_seed(0)
    return MelNormalization.from_mels([torch.randn(5, 400, generator=generator) * 2 - 4], -10.0)


def test_bands_have_mean_zero_and_deviation_one(normalization):
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(5, 400, generator=generator) * 2 - 4
    x = normalization.normalize(mel)
    torch.testing.assert_close(x.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(1, correction=0), torch.ones(5), atol=1e-5, rtol=0)
    inside = (mel > -10) & (x < CEILING)
    torch.testing.assert_close(normalization.restore(x)[inside], mel[inside])


def test_no_sample_passes_floor_or_ceiling(normalization):
    wild = torch.tensor([-1e3, 1e3, float("inf")]).expand(5, 3)
    mel = normalization.restore(wild)
    assert (mel[:, 0] == -10).all()
    loudest = torch.tensor(normalization.mean) + CEILING * torch.tensor(normalization.deviation)
    torch.testing.assert_close(mel[:, 1:], loudest[:, None].expand(5, 2))
