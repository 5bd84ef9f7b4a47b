"""The average spectrum of recordings: measured where it is known, and taken off and put back exactly."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.average_spectrum import BANDS, AverageSpectrum, filter_like
from audiodiff.errors import UserError

RATE = 16000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tilted(samples: int = RATE, seed: int = 0) -> torch.Tensor:
    """Noise that falls by 6 dB an octave above 200 Hz."""
    hertz = torch.fft.rfftfreq(samples, 1 / RATE)
    return torch.fft.irfft(torch.fft.rfft(noise(samples, seed=seed)) / (1 + hertz / 200), n=samples)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-12, 12), min_size=2, max_size=60),
    st.integers(1, 3000),
    st.lists(st.integers(1, 3), max_size=2),
)
def test_color_inverts_whiten(rises, samples, shape):
    decibels = np.cumsum(rises).clip(-80, 20).tolist()
    spectrum, x = AverageSpectrum(decibels, RATE), noise(*shape, samples)
    torch.testing.assert_close(spectrum.color(spectrum.whiten(x)), x, rtol=0, atol=3e-3)  # 100 dB cost five digits
    exact = spectrum.color(spectrum.whiten(x.double()))
    torch.testing.assert_close(exact, x.double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["whiten", "color"])
def test_filters_are_causal(name):
    """What comes later changes nothing, so that a stroke is silent before it begins and may be cut anywhere."""
    run = getattr(AverageSpectrum(torch.linspace(0, -60, BANDS).tolist(), RATE), name)
    x = noise(4000).double()
    later = torch.nn.functional.pad(x[1000:3000], (1000, 500))
    assert run(later)[:1000].abs().max() < 1e-9
    torch.testing.assert_close(run(x[:1500]), run(x)[:1500], rtol=0, atol=1e-9)


def test_filter_has_the_stated_gain():
    spectrum = AverageSpectrum([0.0, -10.0, -30.0, -20.0], RATE)
    impulse = torch.zeros(RATE, dtype=torch.float64)
    impulse[0] = 1
    found = torch.fft.rfft(spectrum.color(impulse)).abs()
    expected = spectrum.gain(torch.fft.rfftfreq(RATE, 1 / RATE, dtype=torch.float64))
    assert (20 * (found / expected).log10()).abs().max() < 0.01


def test_of_white_noise_it_is_flat():
    found = AverageSpectrum.from_signals([noise(2, 4 * RATE)], RATE)
    assert len(found.decibels) == BANDS
    assert max(map(abs, found.decibels[1:])) < 1.0


def test_whitened_recordings_have_unit_variance_at_all_frequencies():
    spectrum = AverageSpectrum.from_signals([tilted(4 * RATE, seed) for seed in range(4)], RATE)
    z = spectrum.whiten(tilted(8 * RATE, seed=9))
    power = torch.fft.rfft(z).abs().square() / len(z)
    for low, high in ((100, 300), (300, 1000), (1000, 3000), (3000, 7900)):
        band = power[low * 8 : high * 8]
        assert abs(10 * math.log10(band.mean())) < 1.0, (low, high)


def test_a_tone_is_found_at_its_frequency_and_level():
    time = torch.arange(4 * RATE) / RATE
    tone = 0.5 * (2 * torch.pi * 2000 * time).sin()
    spectrum = AverageSpectrum.from_signals([tone + 1e-3 * noise(4 * RATE)], RATE)
    hertz = torch.linspace(0, RATE / 2, 500)
    gains = spectrum.gain(hertz)
    assert abs(float(hertz[gains.argmax()]) - 2000) < 150
    assert abs(10 * math.log10(float(gains.square().mean()) / 0.125)) < 5  # its power, read between few bands


def test_silence_around_a_signal_lowers_its_power():
    """Levels are per sample, so that what is whitened has unit variance over the silence, too."""
    short = AverageSpectrum.from_signals([noise(RATE)], RATE)
    padded = AverageSpectrum.from_signals([torch.nn.functional.pad(noise(RATE), (0, 3 * RATE))], RATE)
    fall = torch.tensor(short.decibels) - torch.tensor(padded.decibels)
    assert (fall[2:] - 10 * math.log10(4)).abs().max() < 0.5


def test_gradients_pass():
    x = noise(300).double().requires_grad_()
    assert torch.autograd.gradcheck(AverageSpectrum([0.0, -20.0, -40.0], RATE).color, x)


def test_silence_and_nonsense_are_refused():
    with pytest.raises(UserError, match="silent"):
        AverageSpectrum.from_signals([torch.zeros(RATE)], RATE)
    for decibels in ([0.0], [0.0, math.nan]):
        with pytest.raises(ValueError, match="two finite bands"):
            AverageSpectrum(decibels, RATE)


def test_a_signal_is_filtered_to_the_spectrum_of_another_one():
    generator = torch.Generator().manual_seed(0)
    signal, other = torch.randn(2, 1, 16000, generator=generator)
    other = AverageSpectrum([10.0, 0.0, -15.0], 8000).color(other)
    found = AverageSpectrum.from_signals([filter_like(signal, 3 * other, 8000, 40.0)], 8000, 12).decibels
    wanted = AverageSpectrum.from_signals([other], 8000, 12).decibels
    differences = torch.tensor(found) - torch.tensor(wanted)
    assert float((differences - differences.mean()).abs().max()) < 1.5
    limited = AverageSpectrum.from_signals([filter_like(signal, other, 8000, 3.0)], 8000, 12).decibels
    assert max(limited) - min(limited) < 8 < max(wanted) - min(wanted)
