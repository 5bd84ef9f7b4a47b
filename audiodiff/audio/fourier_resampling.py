"""Resampling in the frequency domain: differentiable, on any device, between any two rates.

The spectrum of N samples is cut at the lower of both Nyquist frequencies, or continued by zeros, and transformed back
to M samples with M / N = to_rate / from_rate exactly, for which the signal is padded by zeros to a multiple of the
smallest such N. This is band-limited interpolation of a periodic signal; the padding keeps its end from its beginning.
"""

from math import gcd

import torch
from torch import Tensor

_MARGIN = 64  # samples of silence at least, for the ringing of the steep filter


def fourier_resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample (..., T), rates in Hz: -> (..., ceil(T * to_rate / from_rate)), with a gradient."""
    if from_rate == to_rate:
        return waveform
    up, down = (rate // gcd(from_rate, to_rate) for rate in (to_rate, from_rate))
    total = waveform.shape[-1]
    padded = -(-(total + _MARGIN) // down) * down
    target = padded // down * up
    spectrum = torch.fft.rfft(waveform.float(), n=padded)
    bins = min(padded, target) // 2 + 1
    resampled = torch.fft.irfft(spectrum[..., :bins], n=target) * (target / padded)
    return resampled[..., : -(-total * up // down)].to(waveform.dtype)
