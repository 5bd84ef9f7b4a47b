"""Pitch of a recording: YIN (de Cheveigne and Kawahara 2002), batched, on any device.

A periodic signal equals itself one period later. YIN finds, at each frame, the smallest lag whose squared difference
is small relative to the mean over smaller lags (equations 7 and 8, with the threshold of step 4 and the parabola of
step 5). The normalized difference at this lag is the aperiodicity: 0 for a perfectly periodic signal, about 0.5 for
noise.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

F0_MIN, F0_MAX = 55.0, 550.0  # Hz: from a creaky male voice to a child's
_THRESHOLD = 0.15
_PERIODS = 1.25  # of the lowest pitch under the integration window
_ENOUGH_RATE = 8000  # Hz
_SMOOTHING_SECONDS = 1e-3  # about 1 kHz: high harmonics repeat only at lags between samples


def yin(waveform: Tensor, sample_rate: int, hop_length: int, frames: int, offset: int = 0) -> tuple[Tensor, Tensor]:
    """Fundamental frequency (F0) and aperiodicity of each frame.

    Args:
        waveform: (B, T).
        sample_rate: Hz.
        hop_length: samples from frame to frame.
        frames: number of frames; frame k is centered at sample `offset + k * hop_length`.
        offset: center of frame 0, samples.

    Returns:
        F0 in Hz (B, frames), an estimate also for unvoiced frames, and aperiodicity (B, frames) from 0 to about 1, 1
        for silence.
    """
    # The smoothed signal has nothing above 2 kHz and can be decimated.
    step = max(1, sample_rate // _ENOUGH_RATE)
    while hop_length % step or offset % step:
        step -= 1
    waveform = _lowpass(waveform.float(), sample_rate, step)
    rate, hop_length, offset = sample_rate / step, hop_length // step, offset // step
    shortest, longest = int(rate / F0_MAX), int(rate / F0_MIN) + 1
    length = int(_PERIODS * rate / F0_MIN / 2) * 2 + 1
    before = length // 2 - offset
    after = max(0, (frames - 1) * hop_length + length - before - waveform.shape[-1])
    padded = F.pad(waveform, (max(0, before), after))[..., max(0, -before) :]
    pieces = padded.unfold(-1, length, hop_length)[:, :frames]
    pieces = pieces - pieces.mean(-1, keepdim=True)  # a constant is silence and would cost digits
    difference = _difference(pieces, longest + 1)
    lags = torch.arange(1, longest + 2, device=waveform.device)
    quiet = pieces.square().mean(-1) < 1e-10
    normal = difference[..., 1:] * lags / difference[..., 1:].cumsum(-1).clamp(min=1e-9)
    normal = torch.cat([torch.ones_like(normal[..., :1]), normal], dim=-1)
    lag = _first_dip(normal, shortest, longest)
    left, middle, right = (difference.gather(-1, lag + k)[..., 0] for k in (-1, 0, 1))
    bend = (left - 2 * middle + right).clamp(min=torch.finfo(left.dtype).tiny)
    shift = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    aperiodicity = normal.gather(-1, lag)[..., 0].clamp(0, 1)
    return rate / (lag[..., 0] + shift), torch.where(quiet, 1.0, aperiodicity)


def _lowpass(waveform: Tensor, sample_rate: int, step: int) -> Tensor:
    """Smooth (B, T) with a Hann window, at every `step`-th sample."""
    half = max(1, round(_SMOOTHING_SECONDS * sample_rate / 2))
    window = torch.hann_window(2 * half + 3, periodic=False, device=waveform.device)[1:-1]
    with torch.autocast(waveform.device.type, enabled=False):
        return F.conv1d(waveform[:, None], (window / window.sum())[None, None], stride=step, padding=half)[:, 0]


def _difference(pieces: Tensor, lags: int) -> Tensor:
    """Mean of (x[n] - x[n + lag])^2 over the pairs within a piece, lags 0 .. lags: (..., length) -> (..., lags + 1).

    The pairs of every lag are centered in the piece. (Windows that all start with the piece, as in equation 1, would be
    earlier for short lags than for long ones.)
    """
    length = pieces.shape[-1]
    size = 1 << (2 * length - 1).bit_length()
    spectrum = torch.fft.rfft(pieces, size)
    power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
    products = torch.fft.irfft(power, size)[..., : lags + 1]
    energy = F.pad(pieces.square().cumsum(-1), (1, 0))
    lag = torch.arange(lags + 1, device=pieces.device)
    first, second = energy[..., length - lags :].flip(-1), energy[..., -1:] - energy[..., : lags + 1]
    return ((first + second - 2 * products) / (length - lag)).clamp(min=0)


def _first_dip(normal: Tensor, shortest: int, longest: int) -> Tensor:
    """The first local minimum below the threshold, else the deepest one: (..., lags) -> (..., 1)."""
    middle = normal[..., shortest : longest + 1]
    dip = (middle <= normal[..., shortest - 1 : longest]) & (middle <= normal[..., shortest + 1 : longest + 2])
    good = dip & (middle < _THRESHOLD)
    first = good.float().argmax(-1, keepdim=True)
    deepest = middle.masked_fill(~dip, 2.0).argmin(-1, keepdim=True)
    return torch.where(good.any(-1, keepdim=True), first, deepest) + shortest
