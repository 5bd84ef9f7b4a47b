"""Harmonic excitation: what the glottis contributes to a voice, made from its pitch.

A voice is a train of pulses, one a period, and breath, both filtered by the vocal tract (the source-filter model). The
mel tells the filter and the pitch. From the pitch alone the pulses can be made; only *when* the first of them comes is
in no mel, and no ear minds (Wang, Takaki and Yamagishi 2019, neural source-filter models; Hono et al. 2024, PeriodGrad,
for diffusion). Given the pulses, the phase of every harmonic is decided, and a denoiser no longer averages over all of
them.

In training the pulses are aligned with the recording (`aligned_phase`), so that the clean signal is what the pulses
say; at synthesis their phase starts anywhere.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_TOP = 0.97  # harmonics up to this share of half the sample rate
_ALIGNMENT_SECONDS = 0.05


def at_samples(frames: Tensor, hop_length: int, offset: int, samples: int) -> Tensor:
    """Frame values (B, K), frame k at sample `offset + k * hop_length`, to (B, samples): linear, held outside."""
    needed = -(-max(samples - offset, 0) // hop_length) + 1
    held = F.pad(frames[:, None], (1, max(0, needed - frames.shape[-1])), mode="replicate")[:, 0]
    share = torch.arange(hop_length, device=frames.device, dtype=frames.dtype) / hop_length
    between = torch.lerp(held[:, :-1, None], held[:, 1:, None], share).flatten(1)
    return between[:, hop_length - offset :][:, :samples]


def running_phase(f0: Tensor, sample_rate: int, before: Tensor | float = 0.0) -> Tensor:
    """Phase in radians, in [0, 2 pi), of an oscillator of f0 (B, T) Hz; summed in float64.

    Args:
        f0: (B, T) Hz.
        sample_rate: Hz.
        before: (B, 1) or a number, the phase one sample earlier.
    """
    cycles = torch.cumsum(f0.double() / sample_rate, -1) + before / (2 * math.pi)
    return (cycles % 1.0 * (2 * math.pi)).to(f0)


def aligned_phase(phase: Tensor, waveform: Tensor, sample_rate: int) -> Tensor:
    """Shift a running phase to that of the recording's own fundamental.

    The recording is turned back by the phase and averaged over 50 ms; what is left is how far its fundamental is ahead.

    Args:
        phase: (B, T) radians.
        waveform: (B, T) the recording.
        sample_rate: Hz.
    """
    hop = max(1, int(_ALIGNMENT_SECONDS * sample_rate / 8))
    window = torch.hann_window(8 * hop + 1, periodic=False, device=waveform.device, dtype=waveform.dtype)
    turned = torch.stack([waveform * phase.cos(), -waveform * phase.sin()], dim=1).flatten(0, 1)[:, None]
    ahead = F.conv1d(turned, window[None, None], stride=hop, padding=4 * hop)[:, 0]
    real, imaginary = at_samples(ahead, hop, 0, phase.shape[-1]).unflatten(0, (-1, 2)).unbind(1)
    return (phase + torch.atan2(imaginary, real)) % (2 * math.pi)


def pulses(phase: Tensor, f0: Tensor, sample_rate: int) -> Tensor:
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
