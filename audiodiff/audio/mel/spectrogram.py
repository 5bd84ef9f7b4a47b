"""Mel spectrograms of waveforms, and the filter bank and window that they are computed with."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiodiff.audio.mel.scale import corners, triangles
from audiodiff.audio.mel.spec import MelSpec
from audiodiff.errors import UserError
from audiodiff.stft import magnitudes, spectrum


class _Cached(Protocol):
    def __call__(self, spec: MelSpec, like: Tensor | None = None) -> Tensor: ...


def _cached(compute: Callable[[MelSpec], Tensor]) -> _Cached:
    """Cache `compute(spec)` and its copies in other dtypes and on other devices."""

    @lru_cache(maxsize=32)
    @torch.inference_mode(False)  # inference tensors could not be used in training later
    def cached(spec: MelSpec, dtype: torch.dtype | None, device: torch.device | None) -> Tensor:
        return compute(spec) if dtype is None else cached(spec, None, None).to(device, dtype)

    @wraps(compute)
    def constant(spec: MelSpec, like: Tensor | None = None) -> Tensor:
        return cached(spec, None, None) if like is None else cached(spec, like.dtype, like.device)

    return constant


@_cached
def filterbank(spec: MelSpec) -> Tensor:
    """Triangular mel filters (bins, M), float64 on the CPU, or of the dtype and device of `like`.

    Raises:
        UserError: some bands are narrower than the spacing of the frequencies.
    """
    hz = corners(spec.n_mels, spec.f_min, spec.f_max, spec.mel_scale)
    weights = triangles(hz, np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate))
    if spec.norm == "slaney":
        weights *= 2 / (hz[2:] - hz[:-2])[:, None]
    if not (weights.max(1) > 0).all():
        raise UserError(
            "mel spec, n_mels", f"some of {spec.n_mels} bands contain no bin", "decrease it or increase n_fft"
        )
    return torch.from_numpy(weights.T.copy())


@_cached
def interpolation(spec: MelSpec) -> Tensor:
    """Weights (M, bins) that interpolate values per band to bins: linear in Hz between the peaks, constant outside."""
    peaks = torch.from_numpy(corners(spec.n_mels, spec.f_min, spec.f_max, spec.mel_scale)[1:-1])
    bins = torch.arange(spec.bins, dtype=torch.float64) * spec.sample_rate / spec.n_fft
    right = torch.searchsorted(peaks, bins).clamp(1, spec.n_mels - 1)
    fraction = ((bins - peaks[right - 1]) / (peaks[right] - peaks[right - 1])).clamp(0, 1)
    weights = torch.zeros(spec.n_mels, spec.bins, dtype=torch.float64)
    weights.scatter_(0, right[None], fraction[None])
    return weights.scatter_(0, right[None] - 1, 1 - fraction[None])


@_cached
def window(spec: MelSpec) -> Tensor:
    """The Hann window, zero-padded to (n_fft,)."""
    hann = torch.hann_window(spec.win_length, dtype=torch.float64)
    before = (spec.n_fft - spec.win_length) // 2
    return F.pad(hann, (before, spec.n_fft - spec.win_length - before))


@lru_cache(maxsize=32)
def full_scale(spec: MelSpec) -> float:
    """Upper bound of the linear mel of signals within +-1: a frequency has at most the sum of the window."""
    power = float(window(spec).sum()) ** 2 + spec.power_offset
    return float(filterbank(spec).sum(0).max()) * power ** (spec.power / 2)


def pad_waveform(waveform: Tensor, spec: MelSpec, samples: Tensor | None = None) -> Tensor:
    """Pad waveforms as the spec requires: (B, T) -> (B, T + 2 * spec.pad).

    Signals shorter than the padding are reflected repeatedly.

    Args:
        waveform: (B, T).
        spec: amount and mode of padding.
        samples: (B,) valid samples of each clip, where the padding begins; None: all T.
    """
    pad, total = spec.pad, waveform.shape[-1]
    if samples is None and spec.padding == "constant":
        return F.pad(waveform, (pad, pad))
    if samples is None and total > pad:  # as F.pad, in a fifth of the time
        ends = waveform[:, 1 : pad + 1].flip(-1), waveform[:, total - pad - 1 : -1].flip(-1)
        return torch.cat([ends[0], waveform, ends[1]], -1)
    length = torch.tensor([total], device=waveform.device) if samples is None else samples.to(waveform.device)
    length = length[:, None]
    position = torch.arange(-pad, total + pad, device=waveform.device)
    if spec.padding == "constant":
        return F.pad(waveform, (pad, pad)) * (position < length)
    period = 2 * (length - 1).clamp(min=1)
    folded = position % period
    source = torch.minimum(torch.minimum(folded, period - folded), length - 1)
    return waveform.gather(1, source.expand(len(waveform), -1))


class MelSpectrogram(nn.Module):
    """Log-mel spectrogram of waveforms: (B, T) -> (B, M, F) or (T,) -> (M, F), on any device, differentiable.

    Computed in float32 (float64 after `.double()`), also under autocast. It has no parameters and no state.

    Raises:
        ValueError: the waveform is empty or shorter than one frame.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, spec: MelSpec):
        super().__init__()
        self.spec = spec
        self.register_buffer("window", window(spec).float(), persistent=False)
        self.register_buffer("filterbank", filterbank(spec).float(), persistent=False)

    def linear(self, waveform: Tensor) -> Tensor:
        """The mel spectrogram before the logarithm; shapes as of `forward`."""
        if waveform.ndim == 1:
            return self.linear(waveform[None])[0]
        spec = self.spec
        if waveform.shape[-1] == 0 or spec.frames(waveform.shape[-1]) < 1:
            raise ValueError(f"{waveform.shape[-1]} samples are shorter than one frame of {spec.hop_length}")
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.to(self.window.dtype)
            values = magnitudes(spectrum(pad_waveform(waveform, spec), self.window, spec.hop_length), spec.power_offset)
            values = values.square() if spec.power == 2 else values
            return (values @ self.filterbank).transpose(-1, -2)

    def forward(self, waveform: Tensor) -> Tensor:
        """The log-mel of a waveform."""
        return self.spec.compress(self.linear(waveform))
