"""Harmonic excitation: what the glottis contributes to a voice, made from its pitch.

A voice is a train of pulses, one a period, and breath, both filtered by the vocal tract (the source-filter model). The
mel tells the filter and the pitch. From the pitch alone the pulses can be made; only *when* the first of them comes is
in no mel, and no ear minds (Wang, Takaki and Yamagishi 2019, neural source-filter models; Hono et al. 2024, PeriodGrad,
for diffusion). Given the pulses, the phase of every harmonic is decided, and a denoiser no longer averages over all of
them.

In training the pulses are aligned with the recording (`align_phase`), so that the clean signal is what the pulses
say; at synthesis their phase starts anywhere.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.precision import double

_TOP = 0.97  # harmonics up to this share of half the sample rate
_ALIGNMENT_SECONDS, _ALIGNMENT_HOP_SECONDS = 0.03, 0.005
_ALIGNMENT_HERTZ, _HARMONICS = 3000.0, 32  # what is above is breath more than pulses
_SHIFTS, _STEP = 128, 4  # of a period; a step a hop makes up for 6 Hz of wrong pitch


def interpolate_frames(frames: Tensor, hop_length: int, offset: int, samples: int) -> Tensor:
    """Frame values (B, K), frame k at sample `offset + k * hop_length`, to (B, samples): linear, held outside."""
    needed = -(-max(samples - offset, 0) // hop_length) + 1
    held = F.pad(frames[:, None], (1, max(0, needed - frames.shape[-1])), mode="replicate")[:, 0]
    share = torch.arange(hop_length, device=frames.device, dtype=frames.dtype) / hop_length
    between = torch.lerp(held[:, :-1, None], held[:, 1:, None], share).flatten(1)
    return between[:, hop_length - offset :][:, :samples]


def accumulate_phase(f0: Tensor, sample_rate: int, before: Tensor | float = 0.0) -> Tensor:
    """Phase in radians, in [0, 2 pi), of an oscillator of f0 (B, T) Hz; summed in float64.

    Args:
        f0: (B, T) Hz.
        sample_rate: Hz.
        before: (B, 1) or a number, the phase one sample earlier.
    """
    before = double(before) if isinstance(before, Tensor) else before
    cycles = torch.cumsum(double(f0) / sample_rate, -1) + before / (2 * math.pi)
    return (cycles % 1.0 * (2 * math.pi)).to(f0)


def align_phase(phase: Tensor, f0: Tensor, waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Shift a running phase so that its pulses come where the recording's do.

    The recording's harmonics up to 3 kHz, each turned back by its multiple of the phase, say how well pulses that are
    shifted by any part of a period would fit; loud ones are held down, so that all have a say. Pulses come where the
    glottis closes: there all harmonics agree. (The fundamental alone does not tell: an error of a tenth of its period,
    which is a vowel's, is a whole period of the tenth harmonic.) The best path of shifts, which moves by little from
    one moment to the next, is found by dynamic programming (Viterbi).

    Args:
        phase: (B, T) radians.
        f0: (B, T) Hz.
        waveform: (B, T) the recording.
        sample_rate: Hz.

    Returns:
        The shifted phase (B, T), and the sign of the recording's pulses (B, 1): microphones turn some upside down.
    """
    hop = max(1, round(_ALIGNMENT_HOP_SECONDS * sample_rate))
    harmonics = _harmonics(phase, f0, waveform, sample_rate, hop)
    harmonics = harmonics / harmonics.abs().clamp(min=1e-12).sqrt()
    number = torch.arange(1, _HARMONICS + 1, device=phase.device, dtype=phase.dtype)
    shifts = torch.arange(_SHIFTS, device=phase.device, dtype=phase.dtype) * (2 * math.pi / _SHIFTS)
    turns = number[:, None] * shifts
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
    """Complex amplitudes (B, frames, K) of the multiples of a phase up to `_ALIGNMENT_HERTZ`, every `hop` samples.

    Read off the short-time spectrum, between its bins: windows are centered, so that it is smooth there.
    """
    reach = round(_ALIGNMENT_SECONDS * sample_rate / 2)
    size = 1 << (4 * reach - 1).bit_length()
    window = torch.hann_window(2 * reach + 1, periodic=False, device=waveform.device, dtype=waveform.dtype)
    pieces = F.pad(waveform, (reach, reach)).unfold(-1, 2 * reach + 1, hop) * window
    spectrum = torch.fft.rfft(F.pad(pieces, (0, size - pieces.shape[-1])).roll(-reach, -1))
    number = torch.arange(1, _HARMONICS + 1, device=phase.device)
    phase, hertz = phase[:, ::hop, None] * number, f0[:, ::hop, None] * number
    place = (hertz / sample_rate * size).nan_to_num(0).clamp(max=size / 2 - 1)  # an index; NaN stays in the phase
    below = place.long()
    found = torch.lerp(spectrum.gather(2, below), spectrum.gather(2, below + 1), (place - below).to(spectrum))
    return found * torch.polar((hertz < _ALIGNMENT_HERTZ).to(phase), -phase)


def _best_path(fit: Tensor) -> Tensor:
    """The path of the largest sum through (B, frames, S), a circle, in steps of at most `_STEP`: (B, frames)."""
    size = fit.shape[-1]
    score, came = fit[:, 0], []
    for now in fit.unbind(1)[1:]:
        around = F.pad(score[:, None], (_STEP, _STEP), mode="circular")
        best, index = F.max_pool1d(around, 2 * _STEP + 1, stride=1, return_indices=True)
        score = best[:, 0] + now
        came.append(index[:, 0] - _STEP)  # may be outside 0 .. S - 1, which tells the way around the circle
    at = score.argmax(-1, keepdim=True)
    path = [at]
    for before in reversed(came):
        step = before.gather(1, at % size) - at % size
        at = at + step
        path.append(at)
    return torch.cat(path[::-1], 1)


def pulse_train(phase: Tensor, f0: Tensor, sample_rate: int) -> Tensor:
    """All harmonics below half the sample rate, in phase and equally strong, at variance 1.

    sum_{k=1..K} cos(k phase) in closed form (Dirichlet's kernel). The topmost harmonic fades, so that none is switched,
    and is gone before half the sample rate, so that none is mirrored.

    Args:
        phase: (B, T) radians.
        f0: (B, T) Hz.
        sample_rate: Hz.
    """
    harmonics = (_TOP * sample_rate / 2 / f0).clamp(min=1.0)
    whole = harmonics.floor()
    half = phase / 2
    # Near a multiple of the period both sines vanish; there the sum is the number of harmonics.
    small = half.sin().abs() < 1e-4
    below = torch.where(small, torch.ones_like(half), half.sin())
    summed = torch.where(small, whole, ((2 * whole + 1) * half).sin() / (2 * below) - 0.5)
    steepness = (f0 / ((1 - _TOP) * sample_rate / 2)).clamp(min=1.0)
    level = (1 - (whole + 1 - harmonics) * steepness).clamp(min=0.0)
    fading = level * ((whole + 1) * phase).cos()
    return (summed + fading) * (2 / harmonics).sqrt()
