"""Distances between waveforms, for training losses and metrics.

All take an estimate `x` and a reference `y`, (B, T) each, and return one value per clip, (B,), differentiable in `x`.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.stft import magnitudes, spectrum

RESOLUTIONS = ((512, 120, 480), (1024, 256, 1024), (2048, 480, 1920))
WINDOWS = (128, 256, 512, 1024, 2048)
_MIN_MAGNITUDE = 1e-5  # a frame without larger ones is digital silence; recordings have some noise
_INAUDIBLE = 1e-4  # root mean square, -80 dB of full scale


def _magnitude(signal: Tensor, n_fft: int, hop_length: int, win_length: int) -> Tensor:
    """(B, T) to (B, F, bins)."""
    signal = signal.to(torch.promote_types(signal.dtype, torch.float32))
    padded = F.pad(signal, (n_fft // 2, n_fft // 2))
    stft = spectrum(padded, _window(n_fft, win_length, signal.dtype, signal.device), hop_length)
    return magnitudes(stft).clamp(min=_MIN_MAGNITUDE)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # inference tensors could not be used in training later
def _window(n_fft: int, win_length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A Hann window of win_length in the middle of n_fft."""
    before = (n_fft - win_length) // 2
    hann = torch.hann_window(win_length, device=device, dtype=dtype)
    return F.pad(hann, (before, n_fft - win_length - before))


def multi_resolution_stft(
    x: Tensor,
    y: Tensor,
    resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS,
    scale: Tensor | None = None,
) -> Tensor:
    """Multi-resolution STFT distance: spectral convergence plus mean absolute log magnitude difference, averaged.

    Source: Yamamoto, Song and Kim 2020 (Parallel WaveGAN), equations 3 to 6. 0 for equal signals.

    Two floors, at the magnitudes of inaudible white noise (-80 dB), prevent silence from dominating; recordings with
    noise are not affected. One is the smallest divisor of the spectral convergence. The other is the smallest magnitude
    in frames of digital silence, instead of 1e-5.

    Args:
        x: estimate, (B, T).
        y: reference, (B, T).
        resolutions: (n_fft, hop_length, win_length) in samples of each resolution.
        scale: (B, T) signal whose magnitudes normalize the spectral convergence and whose silent frames get the floor;
            None: y. With one scale for all pairs the distance is symmetric.
    """
    total = x.new_zeros(())
    for resolution in resolutions:
        a, b = _magnitude(x, *resolution), _magnitude(y, *resolution)
        unit = b if scale is None else _magnitude(scale, *resolution)
        noise = math.sqrt(3 / 8 * resolution[2])  # magnitude of white noise of unit variance under a Hann window
        least = _INAUDIBLE * noise * math.sqrt(unit.shape[1] * unit.shape[2])
        convergence = (a - b).flatten(1).norm(dim=1) / unit.flatten(1).norm(dim=1).clamp(min=least)
        floor = torch.where(unit.amax(2, keepdim=True) > _MIN_MAGNITUDE, 0.0, _INAUDIBLE * noise)
        total = total + convergence + (a.clamp(min=floor).log() - b.clamp(min=floor).log()).abs().mean((1, 2))
    return total / len(resolutions)


def multi_resolution_mel(x: Tensor, y: Tensor, sample_rate: int, windows: Sequence[int] = WINDOWS) -> Tensor:
    """Mean absolute log difference of mels with windows from short to long, averaged; symmetric.

    Short windows have wide bands: the distance is sensitive to timing within a pitch period and insensitive to noise in
    single bins. After Kumar et al. 2023 (Descript Audio Codec), section 3.4: 5 bands per 64 samples.

    Args:
        x, y: (B, T).
        sample_rate: Hz.
        windows: window lengths in samples, powers of two; the hop is a quarter.
    """
    specs = [_mel_spec(window, sample_rate) for window in windows]
    return torch.stack([log_mel_distance(x, y, spec) for spec in specs]).mean(0)


def _mel_spec(window: int, sample_rate: int) -> MelSpec:
    return MelSpec(
        sample_rate=sample_rate,
        n_fft=window,
        hop_length=window // 4,
        win_length=window,
        n_mels=window * 5 // 64,
        f_min=0.0,
        f_max=sample_rate / 2,
        power=1,
        mel_scale="slaney",
        norm=None,
        log_base="e",
        log_floor=1e-3,
        center=True,
        padding="constant",
    )


def log_mel_distance(x: Tensor, y: Tensor, spec: MelSpec) -> Tensor:
    """Mean absolute difference of the log-mels, in units of the spec's logarithm; x and y (B, T) at its sample rate."""
    mel = MelSpectrogram(spec).to(x)
    return (mel(x) - mel(y)).abs().mean((1, 2))


def si_sdr(x: Tensor, y: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio, dB (Le Roux et al. 2019, equation 2, means removed)."""
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    tiny = torch.finfo(x.dtype).tiny
    aligned = (x * y).sum(-1, keepdim=True) / y.square().sum(-1, keepdim=True).clamp(min=tiny) * y
    noise = (x - aligned).square().sum(-1).clamp(min=tiny)
    return 10 * torch.log10(aligned.square().sum(-1).clamp(min=tiny) / noise)
