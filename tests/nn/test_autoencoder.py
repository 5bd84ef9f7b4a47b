"""The autoencoder: its spectra invert exactly, tiles are the whole, and it can learn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audiodiff.nn.autoencoder import Autoencoder


def build(**options) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(**{"latents": 6, "hop_length": 16, "channels": [24, 16], "blocks": [2, 3]} | options)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 400), st.sampled_from([[24], [24, 16], [24, 16, 8]]))
def test_shapes(batch, samples, channels):
    model = build(channels=channels, blocks=[1] * len(channels))
    latents = model.encode(torch.randn(batch, samples))
    frames = -(-samples // model.stride)
    assert latents.shape == (batch, 6, frames) and model.stride == 16 * 2 ** (len(channels) - 1)
    assert model.decode(latents).shape == (batch, frames * model.stride)
    assert all(one.shape == latents.shape for one in model.posterior(torch.randn(batch, samples)))


@given(st.integers(1, 12))
@settings(max_examples=10, deadline=None)
def test_spectra_give_the_signal_back(hops):
    model, x = build(), torch.randn(2, 16 * hops)
    torch.testing.assert_close(model._overlap_add(model._spectra(x)), x, rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 30), st.booleans())
def test_tiles_are_the_whole(frames, tile, phases):
    model = build(phases=phases).double()
    model.mean.normal_()
    model.deviation.uniform_(0.5, 2)
    x = torch.randn(2, frames * model.stride - 3)
    whole = model.encode(x.double())
    torch.testing.assert_close(model.encode(x.double(), tile), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.decode(whole, tile), model.decode(whole), rtol=0, atol=1e-5)


def test_a_frame_less_of_margin_would_not_do():
    """So that the test above would see a margin that is too small."""
    model = build()
    model.__class__ = type("Narrow", (Autoencoder,), {"margin": property(lambda self: 1)})
    z = torch.randn(1, 6, 40)
    assert not torch.allclose(model.decode(z, 10), model.decode(z), rtol=0, atol=1e-5)


def test_latents_are_standardized_by_what_was_measured():
    model, x = build(), torch.randn(2, 640)
    raw = model.posterior(x)[0]
    model.mean.copy_(raw.mean((0, 2))[:, None])
    model.deviation.copy_(raw.std((0, 2))[:, None])
    z = model.encode(x)
    torch.testing.assert_close(z.std((0, 2)), torch.ones(6))
    torch.testing.assert_close(model.decode(z), model.signal(raw), rtol=1e-4, atol=1e-5)
    assert {"mean", "deviation"} <= set(model.state_dict()) and "window" not in model.state_dict()


def test_it_learns_to_reconstruct():
    model = build(latents=8, channels=[32, 32])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    time = torch.arange(512)
    for step in range(150):
        hertz = 0.02 + 0.2 * torch.rand(16, 1, generator=torch.Generator().manual_seed(step))
        x = (hertz * time).sin()
        mean, _ = model.posterior(x)
        loss = (model.signal(mean) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert float(loss) < 0.1  # of 0.5, with a quarter of the numbers


def test_without_phases_it_sees_and_learns_magnitudes_only():
    """A tone of any phase has one code, and comes back at its pitch and level."""
    model = build(latents=8, channels=[32, 32], phases=False)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    time = torch.arange(512)

    def spectrum(x):
        return torch.stft(x, 64, 16, window=torch.hann_window(64), return_complex=True).abs()

    for step in range(150):
        hertz = 0.02 + 0.2 * torch.rand(16, 1, generator=torch.Generator().manual_seed(step))
        x = (2 * torch.pi * hertz * time).sin()
        result = spectrum(model.signal(model.posterior(x)[0]))
        loss = (result - spectrum(x)).square().mean() / spectrum(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert float(loss) < 0.3  # of 1 for silence
    torch.testing.assert_close(model.encode(-x), model.encode(x))
    shifted = (2 * torch.pi * hertz * time + 0.7).sin()
    codes, others = (model.encode(one)[..., 2:-2] for one in (x, shifted))
    assert (codes - others).square().mean().sqrt() < 0.2 * codes.std(0).mean()
    assert not torch.allclose(build().encode(-x), build().encode(x))


def test_levels_that_do_not_match():
    for channels, blocks in (([8], [1, 1]), ([], [])):
        with pytest.raises(ValueError, match="each level"):
            build(channels=channels, blocks=blocks)
