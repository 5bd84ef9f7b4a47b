"""Short-time transforms: gradients are adjoints, and synthesis undoes analysis."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from audiodiff.stft import magnitudes, overlap_add, scale, spectrum, synthesize

SIZES = [(8, 2, 8), (8, 3, 6), (7, 2, 7), (6, 6, 6)]  # window, hop, its length within


def window_of(size, length):
    window = torch.zeros(size, dtype=torch.float64)
    window[(size - length) // 2 :][:length] = torch.hann_window(length + 2, periodic=False, dtype=torch.float64)[1:-1]
    return window


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("size", "hop", "length"), SIZES)
def test_gradients_equal_finite_differences(size, hop, length):
    window = window_of(size, length)
    signal = random(2, 21).requires_grad_()
    bins = torch.view_as_complex(random(2, 4, size // 2 + 1, 2)).requires_grad_()
    for check in (gradcheck, gradgradcheck):
        assert check(lambda x: torch.view_as_real(spectrum(x, window, hop)), signal)
        assert check(lambda stft: synthesize(stft, window, hop), bins)
        assert check(magnitudes, bins)


@pytest.mark.parametrize(("size", "hop", "length"), SIZES)
def test_values_and_gradients_are_those_of_the_composed_operations(size, hop, length):
    window, signal = window_of(size, length), random(3, 25)
    composed = signal.clone().requires_grad_()
    stft = torch.fft.rfft(composed.unfold(-1, size, hop) * window)
    with torch.no_grad():
        assert torch.equal(spectrum(signal, window, hop), stft)
    direct = signal.clone().requires_grad_()
    for given, transformed in ((composed, stft), (direct, spectrum(direct, window, hop))):
        (transformed.real.square() + transformed.imag.pow(3)).sum().backward()
        assert given.grad is not None
    torch.testing.assert_close(direct.grad, composed.grad)


def test_synthesis_undoes_analysis():
    window, signal = window_of(8, 8), random(2, 40)
    weight = overlap_add(window.square().expand(2, 17, 8), 2)
    again = synthesize(spectrum(signal, window, 2), window, 2) / weight
    torch.testing.assert_close(again, signal)


@pytest.mark.parametrize("hop", [2, 3])
def test_windows_are_applied_in_the_same_pass(hop):
    frames, window = random(2, 5, 8), window_of(8, 8)
    torch.testing.assert_close(overlap_add(frames, hop, window), overlap_add(frames * window, hop))
    assert overlap_add(frames, hop).shape == (2, (5 - 1) * hop + -(-8 // hop) * hop)


def test_magnitudes_of_silence_have_no_gradient():
    stft = torch.zeros(1, 2, 3, dtype=torch.complex64, requires_grad=True)
    magnitudes(stft).sum().backward()
    assert torch.equal(stft.grad, torch.zeros_like(stft))


def test_real_gains_scale_complex_bins():
    stft, gain = torch.view_as_complex(random(2, 3, 4, 2)), random(2, 3, 4)
    assert torch.equal(scale(stft, gain), stft * gain)
