"""The STFT front end in real arithmetic, as matrix products: what every ONNX runtime has and runs fast.

ONNX has no complex tensors, and its DFT operator is missing from many runtimes. A discrete Fourier transform of length
n = a b is two small products (Cooley and Tukey 1965): with sample j = b j1 + j2 and bin k = k1 + a k2,

    X[k] = sum_j2 exp(-2 pi i (j2 k2 / b + j2 k1 / n)) sum_j1 exp(-2 pi i j1 k1 / a) x[j].

The inner sums are one matrix for all j2, the outer ones a matrix for each k1. Of a real signal k1 = 0 .. a / 2 are
enough, since X[n - k] is the conjugate of X[k]; each bin is then a row of the result, or the conjugate of one. For
n = 1024 = 32 x 32 this takes a tenth of the multiplications of one large matrix. The inverse of real spectra is the
transpose, weighted. Frames are columns throughout, so that nothing is transposed but the signal itself.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from audiodiff.nn.frontends.frontend import StftFrontend


class RealStft(nn.Module):
    """`StftFrontend` without complex numbers, for signals of whole hops.

    Args:
        frontend: the front end that it equals.
    """

    bins: Tensor
    rows: Tensor
    inner: Tensor
    outer: Tensor
    sign: Tensor
    weight: Tensor
    window: Tensor

    def __init__(self, frontend: StftFrontend):
        super().__init__()
        self.original = frontend
        self.channels, self.signals, self.stride = frontend.channels, frontend.signals, frontend.hop_length
        self.offset, self.hops = frontend.offset, frontend.n_fft // frontend.hop_length
        size = frontend.n_fft
        inner, outer, bins, sign = dft_matrices(size)
        rows = np.full(outer.shape[0] * outer.shape[1], len(bins))  # of the bins, then a row of zeros
        rows[bins] = np.arange(len(bins))
        both_sides = np.full(frontend.bins, 2.0)
        both_sides[0] = 1
        if size % 2 == 0:
            both_sides[-1] = 1
        weight = sign * np.tile(both_sides, 2) / size
        constants = {"inner": inner, "outer": outer, "sign": sign[:, None], "weight": weight[:, None]}
        for name, constant in constants.items():
            self.register_buffer(name, torch.from_numpy(constant).float(), persistent=False)
        self.register_buffer("bins", torch.from_numpy(bins), persistent=False)
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("window", frontend.window[:, None], persistent=False)

    def frames(self, samples: Tensor) -> Tensor:
        """All windows that touch the clip."""
        return self.original.frames(samples)  # type: ignore[return-value]

    def encode(self, x: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """(B, C + S, T), T of whole hops, to features as of `StftFrontend` and spectra (B, C + S, 2, bins, F)."""
        batch, channels, samples = x.shape
        columns = x.reshape(batch, channels, samples // self.stride, self.stride).transpose(2, 3)
        frames = samples // self.stride + self.hops - 1 if frames is None else frames
        columns = nn.functional.pad(columns, (self.hops - 1, frames - samples // self.stride))
        windows = torch.cat([columns[..., i : i + frames] for i in range(self.hops)], dim=2) * self.window
        within = self.outer.shape[-1]
        partial = self.inner @ windows.reshape(batch, channels, self.inner.shape[1], within // 2 * frames)
        full = self.outer @ partial.reshape(batch, channels, len(self.outer), within, frames)
        spectrum = full.reshape(batch, channels, len(self.outer) * within, frames)[:, :, self.bins] * self.sign
        spectrum = spectrum.reshape(batch, channels, 2, len(self.bins) // 2, frames)
        return spectrum.transpose(1, 2).reshape(batch, channels * len(self.bins), frames), spectrum

    def decode(self, output: Tensor, state: Tensor, samples: int) -> Tensor:
        """The U-Net's output to (B, C, samples), as `StftFrontend.decode`."""
        front, (batch, _, _, bins, frames) = self.original, state.shape
        parts = output.reshape(batch, -1, self.channels, bins, 2, frames)
        spectrum = _product(parts[:, 0], state[:, : self.channels])
        for k in range(self.signals):
            spectrum = spectrum + _product(parts[:, 1 + k], state[:, self.channels + k, None])
        if front.additive:
            spectrum = spectrum + parts[:, -1].transpose(2, 3)
        flat = spectrum.transpose(1, 2).transpose(1, 2).reshape(batch, self.channels, 2 * bins, frames) * self.weight
        full = nn.functional.pad(flat, (0, 0, 0, 1))[:, :, self.rows]
        within = self.outer.shape[-1]
        partial = self.outer.mT @ full.reshape(batch, self.channels, len(self.outer), within, frames)
        windows = self.inner.T @ partial.reshape(batch, self.channels, len(self.inner), within // 2 * frames)
        windows = windows.reshape(batch, self.channels, front.n_fft, frames) * self.window
        slices = windows.reshape(batch, self.channels, self.hops, self.stride, frames)
        hops, last = samples // self.stride, self.hops - 1
        columns = sum(slices[:, :, i, :, last - i : last - i + hops] for i in range(self.hops))
        return columns.transpose(2, 3).reshape(batch, self.channels, samples) * self.stride


def _product(mask: Tensor, spectrum: Tensor) -> Tensor:
    """The complex product of (B, C, bins, 2, F), as a network predicts it, and (B, C, 2, bins, F); like the latter."""
    real, imaginary = mask[:, :, :, 0], mask[:, :, :, 1]
    a, b = spectrum[:, :, 0], spectrum[:, :, 1]
    return torch.stack([real * a - imaginary * b, real * b + imaginary * a], dim=2)


def dft_matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A real transform of `size` samples as two products and a choice of rows.

    Returns:
        The inner matrix (2 K, a) with real and imaginary rows for each k1 < K; the outer ones (K, 2 b, 2 b), real parts
        before imaginary ones on both sides; the rows of their results (2 bins,), all real parts before all imaginary
        ones; and the sign of each row (2 bins,).
    """
    a = max(factor for factor in range(1, math.isqrt(size) + 1) if size % factor == 0)
    b, half = size // a, a // 2 + 1
    angle = 2 * np.pi / a * np.outer(np.arange(half), np.arange(a))
    inner = np.stack([np.cos(angle), -np.sin(angle)], axis=1).reshape(2 * half, a)
    k1, k2, j2 = np.arange(half)[:, None, None], np.arange(b)[:, None], np.arange(b)
    angle = 2 * np.pi * (j2 * k2 / b + j2 * k1 / size)
    cos, sin = np.cos(angle), np.sin(angle)
    outer = np.concatenate([np.concatenate([cos, sin], axis=2), np.concatenate([-sin, cos], axis=2)], axis=1)
    bins = np.arange(size // 2 + 1)
    mirrored = bins % a >= half
    place = np.where(mirrored, size - bins, bins)
    row = place % a * 2 * b + place // a
    return inner, outer, np.concatenate([row, row + b]), np.concatenate([np.ones(len(bins)), 1.0 - 2 * mirrored])
