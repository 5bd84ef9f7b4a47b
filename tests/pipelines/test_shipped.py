"""The models that come with the package: small, licensed, silent in silence, and near the mel that they are given."""

import math

import pytest
import torch
from scipy.signal import lfilter

from audiodiff import Vocoder
from audiodiff.audio.excitation import accumulate_phase, pulse_train
from audiodiff.audio.io import Audio
from audiodiff.export import publish
from audiodiff.models import checkpoint

shipped = pytest.mark.parametrize("name", checkpoint.shipped("vocoder"))


FORMANTS = ((730, 90), (1090, 110), (2440, 170))


def voice(seconds, rate):
    """A vowel whose pitch glides from 110 to 170 Hz, with a little breath."""
    f0 = torch.linspace(110, 170, int(seconds * rate), dtype=torch.float64)[None]
    made = pulse_train(accumulate_phase(f0, rate), f0, rate) + 0.05 * torch.randn(f0.shape, generator=torch.Generator())
    for frequency, bandwidth in FORMANTS:
        radius = math.exp(-math.pi * bandwidth / rate)
        made = lfilter([1.0], [1.0, -2 * radius * math.cos(2 * math.pi * frequency / rate), radius**2], made)
    return torch.from_numpy(0.3 * made[0] / abs(made).max()).float()


def decibels(samples):
    return 20 * math.log10(max(float(samples.double().square().mean().sqrt()), 1e-9))


def test_the_speech_vocoder_is_shipped():
    assert "speech-16k" in checkpoint.shipped()


@shipped
def test_it_is_small_and_its_card_names_data_and_licenses(name):
    folder = checkpoint.locate(name)
    weights = checkpoint.load(folder).weights
    assert sum(weight.numel() for weight in weights.values()) <= publish.MAX_PARAMETERS
    assert sum(file.stat().st_size for file in folder.iterdir()) <= publish.MAX_BYTES
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("## Training", "## Data", "license", "## Known limitations"):
        assert word in card


@shipped
@pytest.mark.parametrize("calls", [1, 4])
def test_silence_stays_silent(name, calls):
    """Below -60 dBFS, alone and between sounds."""
    vocoder = Vocoder.from_pretrained(name)
    rate = vocoder.sample_rate
    tone = 0.3 * torch.sin(2 * math.pi * 200 * torch.arange(rate // 2) / rate)
    made = vocoder.resynthesize(Audio(torch.cat([tone, torch.zeros(rate), tone]), rate), calls).samples
    assert decibels(made[rate // 2 + 2048 : 3 * rate // 2 - 2048]) < -60
    assert decibels(made[: rate // 2]) > -20
    assert decibels(vocoder.resynthesize(Audio(torch.zeros(rate), rate), calls).samples) < -60


@shipped
def test_the_audio_has_about_the_mel_that_was_asked_for(name):
    vocoder = Vocoder.from_pretrained(name)
    mel = vocoder.mel(Audio(voice(2.0, vocoder.sample_rate), vocoder.sample_rate))
    again = vocoder.mel(vocoder.generate(mel))[:, : mel.shape[1]]
    loud = mel > mel.max() - 7
    assert (again - mel).abs()[loud].mean() < 0.15


@shipped
def test_its_own_number_of_calls_is_one_that_it_was_checked_with(name):
    model = Vocoder.from_pretrained(name).model
    least, most = model.validated
    assert least <= model.default_steps <= most
