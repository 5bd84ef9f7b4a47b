import math

import pytest
import torch

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.spectral import (
    RESOLUTIONS,
    WINDOWS,
    log_mel_distance,
    multi_resolution_mel,
    multi_resolution_stft,
    si_sdr,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_signals_have_no_distance():
    x = 0.1 * noise(2, 8000)
    assert multi_resolution_stft(x, x).tolist() == [0, 0]
    assert log_mel_distance(x, x, PRESETS["speech_16k"]).tolist() == [0, 0]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_scaled_signal_has_the_distance_of_its_scale(scale):
    """Spectral convergence |s - 1|, log magnitudes |log s|, for each clip by itself."""
    y = 0.1 * noise(2, 8000)
    x = torch.stack([scale * y[0], y[1]])
    assert multi_resolution_stft(x, y).tolist() == pytest.approx([abs(scale - 1) + abs(math.log(scale)), 0], rel=1e-3)
    assert log_mel_distance(x, y, PRESETS["speech_16k"]).tolist() == pytest.approx([abs(math.log(scale)), 0], rel=1e-6)


def test_distance_is_the_mean_over_resolutions():
    x, y = 0.1 * noise(1, 8000), 0.1 * noise(1, 8000, seed=1)
    single = [multi_resolution_stft(x, y, [resolution]).item() for resolution in RESOLUTIONS]
    assert multi_resolution_stft(x, y).item() == pytest.approx(sum(single) / 3)
    assert len({round(value, 6) for value in single}) == 3


@pytest.mark.parametrize("rate", [16000, 44100])
def test_multi_resolution_mel_is_symmetric_and_depends_on_scale(rate):
    x, y = noise(2, 8000), noise(2, 8000, seed=1)
    torch.testing.assert_close(multi_resolution_mel(x, y, rate), multi_resolution_mel(y, x, rate))
    assert multi_resolution_mel(x, x, rate).tolist() == [0, 0]
    assert multi_resolution_mel(2 * x, x, rate).tolist() == pytest.approx([math.log(2)] * 2, rel=1e-3)


def test_short_windows_are_sensitive_to_timing():
    """Bursts of noise, and the same half a period, 16 ms, later."""
    x = 0.1 * noise(1, 16000) * (torch.arange(16000) % 512 < 128)
    distances = [multi_resolution_mel(x, x.roll(256, 1), 16000, [window]).item() for window in WINDOWS]
    assert distances[0] > 4 * distances[-1] and distances[1] > 4 * distances[-1]


def test_distance_rises_with_noise():
    y = 0.1 * noise(1, 16000)
    distances = [multi_resolution_stft(y + level * noise(1, 16000, seed=1), y).item() for level in (0.001, 0.01, 0.1)]
    assert distances == sorted(distances) and distances[0] > 0


def test_gradients_are_finite_at_silence_and_at_equality():
    y = 0.1 * noise(1, 4096)
    for start in (torch.zeros_like(y), y.clone()):
        for distance in (
            multi_resolution_stft,
            si_sdr,
            lambda x, y: multi_resolution_mel(x, y, 16000),
            lambda x, y: log_mel_distance(x, y, PRESETS["speech_16k"]),
        ):
            x = start.clone().requires_grad_()
            distance(x, y).sum().backward()
            assert x.grad.isfinite().all()
    assert multi_resolution_stft(y, torch.zeros_like(y)).isfinite()


def published(x, y):
    """Spectral convergence and log magnitude distance as published, without floors."""
    total = 0.0
    for n_fft, hop, win in RESOLUTIONS:
        window = torch.hann_window(win, dtype=x.dtype)
        a, b = (
            torch.stft(z, n_fft, hop, win, window, pad_mode="constant", return_complex=True).abs().clamp(min=1e-5)
            for z in (x, y)
        )
        total = total + (a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
        total = total + (a.log() - b.log()).abs().mean((1, 2))
    return total / len(RESOLUTIONS)


@pytest.mark.parametrize("level", [1.0, 1e-2, 1.1e-4])
def test_recordings_have_the_published_distance(level):
    """Whatever is above -80 dB as a whole and has no digital silence in it, gradients included."""
    y = level * noise(2, 8000) * torch.linspace(0.2, 1.6, 8000)
    x, same = ((level * noise(2, 8000, seed=1)).requires_grad_() for _ in range(2))
    distance, expected = multi_resolution_stft(x, y), published(same, y)
    torch.testing.assert_close(distance, expected)
    distance.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, same.grad, rtol=0, atol=1e-5 * float(same.grad.abs().max()))


def test_against_silence_white_noise_has_the_distance_of_its_level_from_the_floors():
    """Spectral convergence r for r times the floor; logarithms of Rayleigh's variable where it is above the floor.

    E[max(0, log |X|)] = E1(1 / r^2) / 2 for complex normal X of variance r^2.
    """
    silence = torch.zeros(1, 60000, dtype=torch.float64)
    for ratio, logarithm in ((1.0, 0.21938 / 2), (10.0, 4.03793 / 2), (0.1, 0.0)):
        distance = multi_resolution_stft(1e-4 * ratio * noise(1, 60000), silence)
        assert distance.item() == pytest.approx(ratio + logarithm, rel=0.05)
    assert multi_resolution_stft(silence, silence).tolist() == [0]


def test_inaudible_differences_in_digital_silence_do_not_count():
    """A clip whose second half is zeros, exact in its first half and 20 dB below the floor in the second."""
    heard = torch.arange(32000) < 16000
    y = 0.1 * noise(1, 32000) * heard
    near = multi_resolution_stft(y + 1e-5 * noise(1, 32000, seed=1) * ~heard, y)
    audible = multi_resolution_stft(y + 1e-2 * noise(1, 32000, seed=1) * ~heard, y)
    assert near < 0.02 and audible > 2
    scaled = multi_resolution_stft(y, 0.9 * y, scale=y), multi_resolution_stft(0.9 * y, y, scale=y)
    assert torch.equal(*scaled)


def test_half_precision_is_computed_in_float32():
    x, y = 0.1 * noise(1, 4096), 0.1 * noise(1, 4096, seed=1)
    half = multi_resolution_stft(x.bfloat16(), y.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), multi_resolution_stft(x, y), rtol=0.05, atol=0)


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 30.0])
def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_the_powers(decibels):
    t = torch.arange(1000, dtype=torch.float64) / 1000
    y, error = torch.sin(2 * math.pi * 5 * t)[None], torch.cos(2 * math.pi * 11 * t)[None]
    x = y + 10 ** (-decibels / 20) * error
    for changed in (x, 7 * x, -x, x + 3):
        assert si_sdr(changed, y).item() == pytest.approx(decibels, abs=1e-6)
    assert si_sdr(y, y).item() > 200
    assert si_sdr(torch.zeros_like(y), y).isfinite()
