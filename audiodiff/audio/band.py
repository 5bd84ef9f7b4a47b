"""Splitting signals at a frequency: a linear-phase low-pass filter of finite length, and its complement.

The filter is an ideal low-pass under a Kaiser window (Oppenheim and Schafer, Discrete-Time Signal Processing, section
7.5.3), without delay: it passes up to one frequency and stops from another one on, both by `ATTENUATION`. What it
removes is what its complement passes, so both add up to the signal. It ends after `half_length` samples to each side:
a stretch of a long signal is filtered as the whole is.
"""

import math

import torch
from torch import Tensor

from audiodiff.precision import double, float64_device

ATTENUATION = 120.0  # dB
KNOWN = 0.9  # share of the band below a cutoff that resampling filters pass unchanged
_BETA = 0.1102 * (ATTENUATION - 8.7)


def half_length(transition: float, sample_rate: float) -> int:
    """Samples to each side of a filter with a transition band of so many Hz."""
    return math.ceil((ATTENUATION - 8) / (2.285 * 2 * math.pi * transition / sample_rate) / 2)


def response(stop: Tensor, transition: Tensor, sample_rate: float, length: int) -> Tensor:
    """Real spectrum (B, length / 2 + 1) of low-pass filters around sample 0.

    Args:
        stop: (B,) Hz, where each stops.
        transition: (B,) Hz below, where its transition begins.
        sample_rate: Hz.
        length: of the transform; the filters must not be longer.
    """
    device = float64_device(stop.device)
    stop, transition = (hertz.to(device, torch.float64)[:, None] for hertz in (stop, transition))
    half = (ATTENUATION - 8) / (2.285 * 2 * math.pi * transition / sample_rate) / 2
    half_taps = min(math.ceil(float(half.max())), length // 2 - 1)
    place = torch.arange(-half_taps, half_taps + 1, dtype=torch.float64, device=device)
    cycles = (2 * stop - transition) / sample_rate  # twice the center of the transition
    ideal = cycles * torch.sinc(cycles * place)
    window = torch.special.i0(_BETA * (1 - (place / half).square()).clamp(min=0).sqrt()) * (place.abs() <= half)
    taps = ideal * window
    taps = taps / taps.sum(1, keepdim=True)
    around = torch.zeros(len(taps), length, dtype=torch.float64, device=device)
    around[:, : half_taps + 1], around[:, length - half_taps :] = taps[:, half_taps:], taps[:, :half_taps]
    return torch.fft.rfft(around).real


def apply(signal: Tensor, gain: Tensor, length: int) -> Tensor:
    """Multiply the spectra of signals (B, T) by gains (B, length / 2 + 1); they are zero-padded to the length."""
    exact = double(signal)  # single precision would let 1e-7 of a loud band through
    filtered = torch.fft.irfft(torch.fft.rfft(exact, n=length) * gain.to(exact), n=length)
    return filtered[:, : signal.shape[-1]].to(signal.device, torch.promote_types(signal.dtype, torch.float32))


def padded_length(samples: int, half: int) -> int:
    """Length of a transform in which a filter of `half` samples to each side does not wrap around, a power of two."""
    return 1 << (samples + half).bit_length()


def lowpass(signal: Tensor, cutoff: Tensor, sample_rate: float) -> Tensor:
    """The band below the cutoffs: unchanged up to `KNOWN` of them, nothing from them on.

    Args:
        signal: (B, T), zero beyond its ends.
        cutoff: (B,) Hz.
        sample_rate: Hz.
    """
    transition = (1 - KNOWN) * cutoff
    length = padded_length(signal.shape[-1], half_length(float(transition.min()), sample_rate))
    with torch.autocast(signal.device.type, enabled=False):
        return apply(signal, response(cutoff, transition, sample_rate, length), length)


def highpass(signal: Tensor, cutoff: Tensor, sample_rate: float) -> Tensor:
    """The complement of `lowpass`: nothing up to `KNOWN` of the cutoffs, everything from them on."""
    return signal - lowpass(signal, cutoff, sample_rate)
