import dataclasses

import pytest
import torch

from audiodiff.audio.griffin_lim import griffin_lim, mel_to_magnitudes
from audiodiff.audio.mel import PRESETS, MelSpectrogram, filterbank

SPECS = {**PRESETS, "power 2": dataclasses.replace(PRESETS["speech_16k"], power=2, log_base="10", log_floor=1e-10)}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))


def error_of(waveform, mel, spec) -> float:
    """Mean absolute error of the mel in nepers, silence set aside."""
    natural = dataclasses.replace(spec, log_base="e", log_floor=1e-3**spec.power)
    wanted = natural.compress(spec.expand(mel))
    made = MelSpectrogram(natural)(waveform)[..., : mel.shape[-1]]
    return ((made - wanted).abs().mean() / spec.power).item()


@every_spec
def test_magnitudes_have_the_mel(speech, spec):
    """A mel that some magnitudes have is met by the pseudo-inverse exactly, but for the negative values cut off."""
    linear = MelSpectrogram(spec).linear(speech(1.0, spec.sample_rate))
    magnitudes = mel_to_magnitudes(spec.compress(linear), spec)
    assert magnitudes.shape == (spec.bins, linear.shape[-1]) and (magnitudes >= 0).all()
    again = filterbank(spec).float().T @ magnitudes**spec.power
    assert (again - linear).norm() < 0.15 * linear.norm()


@every_spec
def test_griffin_lim_recovers_the_mel(speech, spec):
    mel = MelSpectrogram(spec)(speech(1.5, spec.sample_rate))
    waveform = griffin_lim(mel, spec)
    assert waveform.shape == (mel.shape[-1] * spec.hop_length,)
    assert error_of(waveform, mel, spec) < 0.35
    assert error_of(waveform, mel, spec) < error_of(griffin_lim(mel, spec, iterations=2), mel, spec)


@every_spec
def test_sound_stays_where_it_was(spec):
    """A click comes out at its own place: frames are not shifted."""
    clip = torch.zeros(40 * spec.hop_length)
    place = 20 * spec.hop_length + 37
    clip[place : place + 64] = torch.randn(64, generator=torch.Generator().manual_seed(0))
    waveform = griffin_lim(MelSpectrogram(spec)(clip), spec)
    energy = waveform.square()
    center = (energy * torch.arange(len(energy))).sum() / energy.sum()
    assert abs(center - place - 32) < spec.hop_length / 2


def test_batches_and_seeds(speech):
    spec = PRESETS["speech_16k"]
    mel = torch.stack([MelSpectrogram(spec)(speech(0.5, 16000, seed)) for seed in range(2)])
    batch = griffin_lim(mel, spec, iterations=4)
    assert batch.shape == (2, mel.shape[-1] * 256)
    assert torch.equal(batch, griffin_lim(mel, spec, iterations=4))
    assert not torch.equal(batch, griffin_lim(mel, spec, iterations=4, seed=1))
