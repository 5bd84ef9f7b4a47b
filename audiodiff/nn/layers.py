"""Building blocks over feature frames `(B, C, F)`.

A *mask* is `(B, 1, F)`, one where a clip has content and zero beyond its end, or None where all is content. Each layer
that mixes frames zeroes its masked input first: beyond its end a clip then sees the zeros it would see alone.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d

DILATION_CYCLES = range(1, 17)  # 2^15 frames to each side are minutes


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` with everything beyond each clip's end set to zero."""
    return x if mask is None else x * mask


class NoiseLevelEmbedding(nn.Module):
    """Noise-level embedding: log-SNR `(B,)` to features `(B, width)` by Fourier features and a two-layer perceptron.

    Frequencies are spaced geometrically and resolve both the whole range of log-SNR (about -20 to 20) and differences
    of a hundredth; after the sinusoidal embedding of Vaswani et al. 2017, section 3.5.
    """

    scales: Tensor

    def __init__(self, width: int, frequencies: int = 32):
        super().__init__()
        self.width, self.frequencies = width, frequencies
        self.register_buffer("scales", torch.logspace(-2, 1, frequencies) * math.pi / 2, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, log_snr: Tensor) -> Tensor:
        """Embed noise levels; computed in float32, then in the perceptron's precision."""
        angles = log_snr.float()[:, None] * self.scales
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=1).to(next(self.mlp.parameters()).dtype))


class ScalarEmbedding(nn.Module):
    """Embedding of positive numbers `(B, N)`, such as a tempo, as features `(B, width)`; NaN is unknown and adds 0.

    Fourier features of the logarithm, with periods from 16 octaves to a quarter: ratios count, not differences.
    """

    scales: Tensor

    def __init__(self, numbers: int, width: int, frequencies: int = 16):
        super().__init__()
        self.register_buffer("scales", torch.logspace(-4, 2, frequencies, base=2) * 2 * math.pi, persistent=False)
        self.project = nn.Linear(numbers * 2 * frequencies, width, bias=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Embed; computed in float32, then in the projection's precision."""
        known = numbers.isfinite()
        angles = torch.where(known, numbers, 1.0).float().log2()[..., None] * self.scales
        features = torch.cat([angles.sin(), angles.cos()], dim=-1) * known[..., None]
        return self.project(features.flatten(1).to(self.project.weight.dtype))


class ChannelNorm(nn.Module):
    """Root-mean-square norm over channels, frame by frame (Zhang & Sennrich 2019): no statistics over time."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `(B, C, F)` over C."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return x * torch.rsqrt(wide.square().mean(dim=1, keepdim=True) + 1e-6).to(x.dtype)


def modulation(embedding: int, channels: int) -> nn.Linear:
    """Projection of an embedding to a scale and a shift of each channel (`modulate`); at first it changes nothing."""
    projection = nn.Linear(embedding, 2 * channels)
    nn.init.zeros_(projection.weight)
    nn.init.zeros_(projection.bias)
    return projection


def modulate(hidden: Tensor, projected: Tensor) -> Tensor:
    """Scale and shift `(B, C, F)` by a projected embedding `(B, 2 C)`."""
    scale, shift = rearrange(projected, "b (two c) -> two b c 1", two=2)
    return torch.addcmul(shift, hidden, 1 + scale)


class ResidualBlock(nn.Module):
    """Norm, modulation by noise level (FiLM, Perez et al. 2018) and condition, dilated convolution, gate, projection.

    Args:
        channels: C, in and out.
        embedding: width of the noise-level embedding; 0: there is none, and no modulation.
        condition: channels of the condition at this resolution; 0 for none.
        dilation: of the convolution, in frames.
        kernel: its odd width.
        inner: channels between the convolution and the projection; None: C.
    """

    def __init__(
        self, channels: int, embedding: int, condition: int, dilation: int, kernel: int = 3, inner: int | None = None
    ):
        super().__init__()
        inner = inner or channels
        self.norm = ChannelNorm()
        self.modulation = modulation(embedding, channels) if embedding else None
        self.condition = FrameConv1d(condition, channels, 1) if condition else None
        self.dilated = FrameConv1d(channels, inner, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.project = FrameConv1d(inner, channels, 1)

    @property
    def inner_convolutions(self) -> tuple[FrameConv1d, FrameConv1d]:
        """What writes and what reads the inner channels."""
        return self.dilated, self.project

    @property
    def receptive_field(self) -> int:
        """Half-width in frames."""
        return int(self.dilated.padding[0])

    def forward(
        self,
        x: Tensor,
        embedding: Tensor | None = None,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
        projected: Tensor | None = None,
    ) -> Tensor:
        """Apply the block to `(B, C, F)`; `projected`: what `self.condition` makes of the condition, if it is known."""
        hidden = self.norm(x)
        if self.modulation is not None:
            hidden = modulate(hidden, self.modulation(embedding))
        if self.condition is not None:
            hidden = hidden + (self.condition(condition) if projected is None else projected)
        hidden = nn.functional.silu(self.dilated(apply_mask(hidden, mask)))
        return x + self.project(hidden)


class Downsample(nn.Module):
    """Halve the frames: each pair becomes one frame of `out_channels`."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.project = FrameConv1d(channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(B, C, F)`, F even, to `(B, out_channels, F / 2)`."""
        return self.project(apply_mask(x, mask))


class Upsample(nn.Module):
    """Double the frames: each frame becomes a pair of frames of `out_channels`."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.project = FrameConv1d(channels, 2 * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, F)` to `(B, out_channels, 2 F)`."""
        return rearrange(self.project(x), "b (c two) f -> b c (f two)", two=2)
