"""Channels as uncorrelated signals."""

import torch

from audiodiff.audio.principal_components import principal_components


def noise(seed: int) -> torch.Tensor:
    return torch.randn(4000, generator=torch.Generator().manual_seed(seed))


def test_a_panned_sound_is_one_component():
    for left, right in ((1.0, 1.0), (0.9, 0.1), (0.0, 1.0), (1.0, -1.0)):
        waveform = torch.stack([left * noise(0), right * noise(0)])
        directions = principal_components(waveform)
        assert directions.shape == (2, 1) and directions.sum() >= -1e-6
        torch.testing.assert_close(directions @ (directions.T @ waveform), waveform, rtol=0, atol=1e-4)


def test_components_are_uncorrelated_and_lead_back():
    waveform = torch.stack([noise(0) + 0.3 * noise(1), noise(0) - 0.3 * noise(2), noise(3)])
    directions = principal_components(waveform)
    components = directions.T @ waveform
    torch.testing.assert_close(directions.T @ directions, torch.eye(3))
    covariance = components @ components.T / 4000
    assert (covariance - covariance.diagonal().diag()).abs().max() < 1e-4
    assert covariance.diagonal().diff().max() < 0
    torch.testing.assert_close(directions @ components, waveform)


def test_silence_has_none():
    assert principal_components(torch.zeros(2, 100)).shape == (2, 0)
    assert principal_components(torch.zeros(1, 0)).shape == (1, 0)
