"""Harmonic excitation: pulse trains from pitch, as conditioning signal of a vocoder.

In the source-filter model a voice is a train of pulses, one per period, and noise, both filtered by the vocal tract.
The mel determines the filter and the pitch, and the pitch determines the pulses up to the position of the first, which
is inaudible (Wang, Takaki and Yamagishi 2019, neural source-filter models; Hono et al. 2024, PeriodGrad, for
diffusion). Conditioned on the pulses, the phase of every harmonic is determined, and a denoiser no longer averages over
phases.

In training the pulses are aligned with the recording (`align_phase`), so that they agree with the clean signal; at
synthesis their initial phase is arbitrary.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.precision import double

_TOP = 0.97  # harmonics up to this fraction of half the sample rate
_ALIGNMENT_SECONDS, _ALIGNMENT_HOP_SECONDS = 0.03, 0.005
_ALIGNMENT_HERTZ, _HARMONICS = 3000.0, 32  # above there is more noise than pulses
_SHIFTS, _STEP = 128, 4  # per period; a step per hop compensates a pitch error of 6 Hz


def interpolate_frames(frames: Tensor, hop_length: int, offset: int, samples: int) -> Tensor:
    """Interpolate frames (B, K), frame k at `offset + k * hop_length`, to (B, samples): linear, ends repeated."""
    needed = -(-max(samples - offset, 0) // hop_length) + 1
    padded = F.pad(frames[:, None], (1, max(0, needed - frames.shape[-1])), mode="replicate")[:, 0]
    fraction = torch.arange(hop_length, device=frames.device, dtype=frames.dtype) / hop_length
    between = torch.lerp(padded[:, :-1, None], padded[:, 1:, None], fraction).flatten(1)
    return between[:, hop_length - offset :][:, :samples]


def accumulate_phase(f0: Tensor, sample_rate: int, before: Tensor | float = 0.0) -> Tensor:
    """Phase of an oscillator with frequency f0, in radians in [0, 2 pi), (B, T); accumulated in float64.

    Args:
        f0: (B, T) Hz.
        sample_rate: Hz.
        before: phase one sample earlier, (B, 1) or a number.
    """
    before = double(before) if isinstance(before, Tensor) else before
    cycles = torch.cumsum(double(f0) / sample_rate, -1) + before / (2 * math.pi)
    return ((cycles - cycles.floor()) * (2 * math.pi)).to(f0)


def align_phase(phase: Tensor, f0: Tensor, waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Shift a phase so that its pulses coincide with those of a recording.

    The recording's harmonics up to 3 kHz, each rotated by its multiple of the phase, measure how well the pulses fit at
    any shift of up to a period; their amplitudes are compressed, so that all count. Pulses are at glottal closure,
    where all harmonics are in phase. (The fundamental alone is not enough: an error of a tenth of its period, typical
    of a vowel, is a whole period of the tenth harmonic.) The best sequence of slowly varying shifts is found by dynamic
    programming (Viterbi).

    Args:
        phase: (B, T) radians.
        f0: (B, T) Hz.
        waveform: recording, (B, T).
        sample_rate: Hz.

    Returns:
        The shifted phase (B, T), and the polarity of the recording's pulses (B, 1), which microphones may invert.
    """
    hop = max(1, round(_ALIGNMENT_HOP_SECONDS * sample_rate))
    harmonics = _harmonics(phase, f0, waveform, sample_rate, hop)
    harmonics = harmonics / harmonics.abs().clamp(min=1e-12).sqrt()
    number = torch.arange(1, _HARMONICS + 1, device=phase.device, dtype=phase.dtype)
    shifts = torch.arange(_SHIFTS, device=phase.device, dtype=phase.dtype) * (2 * math.pi / _SHIFTS)
    turns = number[:, None] * shifts
    with torch.autocast(phase.device.type, enabled=False):
        fit = harmonics.real @ turns.cos() + harmonics.imag @ turns.sin()
    sign = torch.where(fit.amax(-1).sum(-1) >= (-fit).amax(-1).sum(-1), 1.0, -1.0)[:, None].to(phase)
    fit = fit * sign[..., None]
    path = _best_path(fit)
    left, middle, right = (fit.gather(2, ((path + k) % _SHIFTS)[..., None])[..., 0] for k in (-1, 0, 1))
    bend = (left - 2 * middle + right).clamp(max=-torch.finfo(fit.dtype).tiny)
    between = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    shift = (path + between) * (2 * math.pi / _SHIFTS)
    return (phase + interpolate_frames(shift, hop, 0, phase.shape[-1])) % (2 * math.pi), sign


def _harmonics(phase: Tensor, f0: Tensor, waveform: Tensor, sample_rate: int, hop: int) -> Tensor:
    """Complex amplitudes (B, frames, K) of the harmonics of a phase up to `_ALIGNMENT_HERTZ`, every `hop` samples.

    Interpolated between the bins of the short-time spectrum, which is smooth because the windows are centered.
    """
    half = round(_ALIGNMENT_SECONDS * sample_rate / 2)
    size = 1 << (4 * half - 1).bit_length()
    window = torch.hann_window(2 * half + 1, periodic=False, device=waveform.device, dtype=waveform.dtype)
    pieces = F.pad(waveform, (half, half)).unfold(-1, 2 * half + 1, hop)
    around = waveform.new_zeros(*pieces.shape[:2], size)  # the center is sample 0
    around[..., : half + 1] = pieces[..., half:] * window[half:]
    around[..., -half:] = pieces[..., :half] * window[:half]
    spectrum = torch.fft.rfft(around)
    number = torch.arange(1, _HARMONICS + 1, device=phase.device)
    phase, hertz = phase[:, ::hop, None] * number, f0[:, ::hop, None] * number
    place = (hertz / sample_rate * size).nan_to_num(0).clamp(max=size / 2 - 1)  # an index; NaN stays in the phase
    below = place.long()
    found = torch.lerp(spectrum.gather(2, below), spectrum.gather(2, below + 1), (place - below).to(spectrum))
    return found * torch.polar((hertz < _ALIGNMENT_HERTZ).to(phase), -phase)


def _best_path(fit: Tensor) -> Tensor:
    """Path of largest sum through (B, frames, S), circular in S, in steps of at most `_STEP`: (B, frames).

    Hundreds of tiny steps, one after the other: NumPy takes a tenth of the time of tensor operations.
    """
    batch, count, size = fit.shape
    fits = fit.detach().transpose(0, 1).cpu().numpy()
    # Scores with what is around them in the circle.
    scores = np.empty((count, batch, size + 2 * _STEP), fits.dtype)
    for k, score in enumerate(scores):
        middle = score[:, _STEP:-_STEP]
        middle[:] = fits[k] if k == 0 else _largest(scores[k - 1]) + fits[k]
        score[:, :_STEP], score[:, -_STEP:] = middle[:, -_STEP:], middle[:, :_STEP]
    at = scores[-1][:, _STEP:-_STEP].argmax(-1)
    path, rows, steps = [at], np.arange(batch)[:, None], np.arange(2 * _STEP + 1)
    for score in scores[-2::-1]:
        # Outside 0 .. S - 1, which counts turns around the circle.
        at = at + score[rows, (at % size)[:, None] + steps].argmax(-1) - _STEP
        path.append(at)
    return torch.from_numpy(np.stack(path[::-1], 1)).to(fit.device)


def _largest(scores: np.ndarray) -> np.ndarray:
    """The largest of every 2 x `_STEP` + 1 neighbors (..., S + 2 x `_STEP`): (..., S)."""
    found, width = scores, 1
    while 2 * width <= 2 * _STEP + 1:
        found, width = np.maximum(found[..., :-width], found[..., width:]), 2 * width
    size = scores.shape[-1] - 2 * _STEP
    return np.maximum(found[..., :size], found[..., -size:])


def pulse_train(phase: Tensor, f0: Tensor, sample_rate: int) -> Tensor:
    """Pulse train of variance 1: all harmonics below half the sample rate, in phase and with equal amplitude.

    sum_{k=1..K} cos(k phase) in closed form (Dirichlet kernel). The highest harmonic fades out below half the sample
    rate, which avoids discontinuities and aliasing.

    Args:
        phase: (B, T) radians.
        f0: (B, T) Hz.
        sample_rate: Hz.
    """
    harmonics = (_TOP * sample_rate / 2 / f0).clamp(min=1.0)
    whole = harmonics.floor()
    half = phase / 2
    # Near multiples of the period both sines vanish and the sum is the number of harmonics.
    sine = half.sin()
    small = sine.abs() < 1e-4
    below = torch.where(small, 1.0, sine)
    summed = torch.where(small, whole, ((2 * whole + 1) * half).sin() / (2 * below) - 0.5)
    steepness = (f0 / ((1 - _TOP) * sample_rate / 2)).clamp(min=1.0)
    level = (1 - (whole + 1 - harmonics) * steepness).clamp(min=0.0)
    fading = level * ((whole + 1) * phase).cos()
    return (summed + fading) * (2 / harmonics).sqrt()
