"""The composed model, as training sees it."""

import pytest
import torch

from audiodiff.audio.mel import PRESETS
from audiodiff.diffusion.objective import X0, Epsilon, V


@pytest.mark.parametrize("spec", list(PRESETS))
def test_the_network_is_told_about_minus_two_to_two(tiny, recording, spec):
    model = tiny(spec=spec)
    floor = float(model.mel_spec.compress(torch.zeros(())))
    told = model.embed_mel(torch.tensor([floor, 0.0]).reshape(1, 1, 2), torch.tensor([512]))
    assert told.frames.flatten().tolist() == pytest.approx([-2, 2])
    assert told.samples.tolist() == [512]
    frames = model.embed_mel(model.analysis(recording(8000, model.mel_spec.sample_rate).samples[None])).frames
    assert frames.min() >= -2 and frames.max() < 4


@pytest.mark.parametrize("objective", [Epsilon(), X0(), V()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("prior", ["mel", "standard"])
def test_an_almost_clean_signal_is_estimated_as_itself(tiny, recording, objective, prior):
    """At t near 0 epsilon and v take the clean signal from the input; an x0 network has to make it."""
    model = tiny(objective=objective, prior=prior)
    waveform = torch.stack([recording(4096, seed=seed).samples for seed in range(2)])
    noise = torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0))
    estimate = model.estimate(waveform, noise, torch.full((2,), 1e-4))
    assert estimate.loss.shape == (2,) and estimate.loss.isfinite().all()
    assert estimate.waveform.shape == waveform.shape
    # What whitening and coloring leave of a signal; exact without a prior.
    mel = model.analysis(waveform)
    expected = model.prior.color(model.prior.whiten(waveform, mel), mel)
    error = (estimate.waveform - expected).square().mean() / expected.square().mean()
    assert (error > 0.1) if isinstance(objective, X0) else (error < 1e-3)


def test_gradients_reach_the_network(tiny, recording):
    model = tiny()
    estimate = model.estimate(recording(2048).samples[None], torch.randn(1, 1, 2048), torch.tensor([0.5]))
    (estimate.loss.sum() + estimate.waveform.square().sum()).backward()
    gradients = [parameter.grad for parameter in model.network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_projection_of_no_iterations_is_none(tiny, recording):
    model = tiny(consistency=0)
    waveform = recording(2560).samples[None]
    mel = model.analysis(waveform)[..., :10]
    assert model.project(waveform, mel) is waveform
    assert not torch.equal(model.project(waveform, mel, 1), waveform)
