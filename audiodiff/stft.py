"""Short-time Fourier transforms, and gradients that are such transforms themselves.

The analysis of a signal x by a window w of N samples and its synthesis,

    X_k[m] = sum_n w[n] x[n + k hop] exp(-2 pi i m n / N),    y[n + k hop] += w[n] irfft(X_k)[n],

are linear, so each one's gradient is its adjoint, and up to the weights of the bins they are each other's: the real
transform has bins 1 .. N / 2 - 1 once that a sum over all N bins has twice. Composed of PyTorch's operations the
gradient of a real transform is a complex one of all N bins, that of overlapping frames a scatter, and those of
overlap-add a copy of the whole signal for each hop of a window: several times the work of the transform itself.

Windows carry no gradient.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def spectrum(padded: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Short-time Fourier transform of a padded signal: (B, L) -> (B, K, bins), complex."""
    if torch.is_grad_enabled() and padded.requires_grad:
        return _Analysis.apply(padded, window, hop_length)
    return torch.fft.rfft(padded.unfold(-1, window.shape[-1], hop_length) * window)


def synthesize(stft: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Inverse transform, window and overlap-add: (B, K, bins) -> (B, (K - 1) * hop + n), rounded up to whole hops."""
    if torch.is_grad_enabled() and stft.requires_grad:
        return _Synthesis.apply(stft, window, hop_length)
    return overlap_add(torch.fft.irfft(stft, n=window.shape[-1]), hop_length, window)


def magnitudes(stft: Tensor, power_offset: float = 0.0) -> Tensor:
    """Magnitudes |X|, with a gradient of 0 where they are 0, or sqrt(|X|^2 + offset) if there is an offset."""
    if power_offset == 0 and stft.requires_grad:
        return _Magnitude.apply(stft)
    return _power(stft).add(power_offset).sqrt() if power_offset else _power(stft).sqrt()


def _power(stft: Tensor) -> Tensor:
    return torch.addcmul(stft.real.square(), stft.imag, stft.imag)


def scale(stft: Tensor, gain: Tensor) -> Tensor:
    """Multiply complex bins by real gains."""
    if not (torch.is_grad_enabled() and gain.requires_grad):
        return stft * gain
    # PyTorch would compute the gradient of the gain as that of a complex number.
    return torch.view_as_complex(torch.view_as_real(stft) * gain[..., None])


def overlap_add(frames: Tensor, hop_length: int, window: Tensor | None = None) -> Tensor:
    """Overlap-add frames, windowed in the same pass: (B, K, n) -> (B, (K - 1) * hop + n), rounded up to whole hops."""
    batch, count, _ = frames.shape
    parts = frames.split(hop_length, -1)
    windows = [None] * len(parts) if window is None else window.split(hop_length, -1)
    out = frames.new_zeros(batch, count - 1 + len(parts), hop_length)
    for i, (part, weights) in enumerate(zip(parts, windows, strict=True)):
        into = out[:, i : i + count, : part.shape[-1]]
        if weights is None:
            into += part
        else:
            into.addcmul_(part, weights)
    return out.flatten(1)


def _once(stft: Tensor, size: int) -> Tensor:
    """The bins that a transform of all `size` bins has once, too: the first, and the last of an even size."""
    return stft[..., :: stft.shape[-1] - 1] if size % 2 == 0 and size > 1 else stft[..., :1]


class _Analysis(torch.autograd.Function):
    @staticmethod
    def forward(padded: Tensor, window: Tensor, hop_length: int) -> Tensor:
        return spectrum(padded, window, hop_length)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        padded, window, ctx.hop_length = inputs
        ctx.length = padded.shape[-1]
        ctx.save_for_backward(window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (window,) = ctx.saved_tensors
        size = window.shape[-1]
        weighted = gradients[0].clone()
        _once(weighted, size).mul_(2)
        signal = synthesize(weighted, window * (size / 2), ctx.hop_length)
        return F.pad(signal, (0, ctx.length - signal.shape[-1])), None, None


class _Synthesis(torch.autograd.Function):
    @staticmethod
    def forward(stft: Tensor, window: Tensor, hop_length: int) -> Tensor:
        return synthesize(stft, window, hop_length)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        stft, window, ctx.hop_length = inputs
        ctx.length = (stft.shape[-2] - 1) * ctx.hop_length + window.shape[-1]
        ctx.save_for_backward(window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (window,) = ctx.saved_tensors
        size = window.shape[-1]
        weighted = spectrum(gradients[0][..., : ctx.length], window * (2 / size), ctx.hop_length)
        _once(weighted, size).div_(2)
        return weighted, None, None


class _Magnitude(torch.autograd.Function):
    @staticmethod
    def forward(stft: Tensor) -> Tensor:
        return _power(stft).sqrt()  # in a third of the time of `abs`

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        stft, values = ctx.saved_tensors
        return scale(stft, gradients[0] / values.clamp(min=torch.finfo(values.dtype).tiny ** 0.5))
