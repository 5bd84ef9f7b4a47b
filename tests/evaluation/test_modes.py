"""Spectrum of a generator's data: its crops, and the modes of waveforms and of latents."""

import math
from dataclasses import replace

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import modes
from audiodiff.pipelines.audio_generator import AudioGenerator

RATE = 8000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, recording):
    """Two kicks, a snare and a bell to train on, a kick held out."""
    root, clips = tmp_path_factory.mktemp("clips"), []
    for i, (label, split) in enumerate(
        [("kick", "train"), ("kick", "train"), ("snare", "train"), ("bell", "train"), ("kick", "test")]
    ):
        soundfile.write(root / f"{i}.wav", recording(4000, RATE, seed=i).samples.numpy(), RATE)
        clips.append(Clip(f"c/{i}", f"{i}.wav", 0.5, RATE, split=split, label=label))
    return Manifest(tuple(clips), root)


def is_start_of_a_clip(crop, manifest, indices) -> bool:
    """Whether a crop (C, T) is the start of one of these clips, on all channels."""
    files = [soundfile.read(manifest.path(manifest.clips[i]), dtype="float32")[0] for i in indices]
    heads = [torch.from_numpy(samples)[: crop.shape[-1]] for samples in files]
    return any(torch.equal(crop, head.expand_as(crop)) for head in heads)


def test_crops_have_the_models_labels_and_length(manifest, make_music):
    labeled = AudioGenerator(make_music(channels=2, labels=("kick",)), training={"from_start": True})
    found = modes.load_crops(manifest, 6, labeled)
    assert len(found) == 6 and {tuple(crop.shape) for crop in found} == {(2, 1600)}
    assert all(is_start_of_a_clip(crop, manifest, (0, 1)) for crop in found)
    unlabeled = AudioGenerator(make_music(channels=1, labels=()))
    assert not all(is_start_of_a_clip(crop, manifest, range(5)) for crop in modes.load_crops(manifest, 6, unlabeled))
    with pytest.raises(UserError, match="no clips"):
        modes.load_crops(manifest, 6, AudioGenerator(make_music(labels=("cymbal",))))


def test_the_modes_of_a_waveform_are_its_bins_at_unit_power(make_music):
    """Powers of white noise are exponentially distributed, of mean 1 at any level."""
    generator = AudioGenerator(make_music(channels=1, labels=(), spectrum=None))
    noise = [0.01 * torch.randn(1, 64000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    found = modes.measure_spectrum(generator, noise)
    assert float((found.weights * found.variances).sum()) == pytest.approx(1, abs=0.03)
    assert float(found.variances[31:33].mean()) == pytest.approx(math.log(2), abs=0.05)


def test_the_modes_of_latents_are_frequencies_of_their_principal_axes(make_latent_music, monkeypatch):
    """Constant latents, proportional in all channels, are a single mode with all the power."""
    generator = AudioGenerator(make_latent_music())
    still = torch.tensor([1.0, -2, 3, -4, 5, -6, 7, -8])[:, None].expand(-1, 1000)
    monkeypatch.setattr(generator, "process_signal", lambda audio: still)
    found = modes.measure_spectrum(generator, [torch.ones(2, 16000)])
    powers = 8 * 501
    total = found.variances * found.weights * powers
    assert float(total[-1]) == pytest.approx(1000 * 204, rel=1e-3)
    assert float(total[:-1].sum()) < 1e-3 * float(total[-1])


@given(st.integers(0, 99), st.integers(2, 5))
def test_on_principal_axes_channels_are_uncorrelated(seed, channels):
    drawn = torch.Generator().manual_seed(seed)
    mixed = torch.randn(channels, channels, generator=drawn) @ torch.randn(channels, 300, generator=drawn)
    axes = modes._principal_axes([mixed[:, :100], mixed[:, 100:]])
    torch.testing.assert_close(axes.T @ axes, torch.eye(channels), rtol=0, atol=1e-5)
    parts = [one @ one.T / one.shape[-1] for one in (mixed[:, :100], mixed[:, 100:])]
    seen = axes.T @ sum(parts) @ axes
    assert float((seen - seen.diagonal().diag()).abs().max()) < 1e-4 * float(seen.diagonal().max())


def test_diffused_signals_have_the_models_channels_length_and_unit_power(make_music, make_latent_music, recording):
    """Whatever the recording's sample rate, channels and level."""
    sound = recording(2 * 1600, 2 * RATE)
    for model in (make_music(channels=2), make_latent_music(channels=2)):
        diffused = AudioGenerator(model).process_signal(sound)
        assert diffused.shape == (model.network.frontend.channels, model.frames(1600))
    waveform = AudioGenerator(make_music()).process_signal(replace(sound, samples=3 * sound.samples))
    torch.testing.assert_close(waveform, AudioGenerator(make_music()).process_signal(sound))
    assert float(waveform.square().mean()) == pytest.approx(1, rel=1e-4)


def test_silence_has_no_spectrum(make_latent_music):
    with pytest.raises(UserError, match="silent"):
        modes.measure_spectrum(AudioGenerator(make_latent_music()), [torch.zeros(2, 1600)] * 2)
    assert modes.measure_spectrum(AudioGenerator(make_latent_music()), [torch.ones(2, 1600)] * 2)
