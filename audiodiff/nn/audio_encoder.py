"""Audio encoder: features of frames, such as a log-mel, to one vector per clip, of clips of any length.

A pyramid of small two-dimensional convolutions sees patterns of time and frequency wherever they are in pitch (as in
PANNs, Kong et al. 2020, arXiv 1912.10211), ConvNeXt blocks see what follows what, at half the frame rate from level to
level, and attention chooses the frames that say what the clip is (multi-head attention pooling, Lee et al. 2019, arXiv
1810.00825: each head has a softmax over the frames of its own).

All norms are over channels, frame by frame, so that a clip's vector does not depend on its batch. Features are zero in
silence, so that what lies beyond a clip's end is silence, too.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.nn.attention import check_heads
from audiodiff.nn.convnext import ConvNextBlock
from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm, Downsample, apply_mask
from audiodiff.ranges import NonNegative, Positive


class AudioEncoder(nn.Module):
    """Features (B, features, F) to vectors (B, embedding).

    Args:
        features: M of a frame, neighboring ones of neighboring frequencies.
        channels: C of each level; every level but the first has half the frames of the one before.
        blocks: of each level.
        embedding: E of the vectors.
        stem: channels of the two-dimensional convolutions before the first level. Each halves the features, the first
            the frames as well. Without them (), the features are the channels of the first convolution.
        heads: of the pooling; divide the channels of the last level.

    Raises:
        ValueError: as many numbers of blocks as levels are needed; the heads do not divide the channels.
    """

    def __init__(
        self,
        features: Positive = 64,
        channels: Sequence[Positive] = (128, 256),
        blocks: Sequence[NonNegative] = (1, 3),
        embedding: Positive = 256,
        stem: Sequence[Positive] = (16, 32, 64),
        heads: Positive = 4,
    ):
        super().__init__()
        if not channels or len(channels) != len(blocks):
            raise ValueError(f"channels {list(channels)} and blocks {list(blocks)} are not of the same levels")
        self.features, self.channels, self.blocks = features, tuple(channels), tuple(blocks)
        self.embedding, self.stem, self.heads = embedding, tuple(stem), check_heads(channels[-1], heads)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=(2, 1 if level else 2), padding=1)
            for level, (before, after) in enumerate(zip((1, *self.stem[:-1]), self.stem, strict=False))
        )
        for _ in self.stem:
            features = -(-features // 2)
        width = features * (self.stem[-1] if self.stem else 1)
        self.conv_in = FrameConv1d(width, channels[0], 1)
        self.downsample = nn.ModuleList(Downsample(before, after) for before, after in pairwise(channels))
        self.levels = nn.ModuleList(
            nn.ModuleList(ConvNextBlock(width, 0, 0) for _ in range(count))
            for width, count in zip(channels, blocks, strict=True)
        )
        self.norm = ChannelNorm()
        self.pooling = FrameConv1d(channels[-1], heads, 1)
        self.values = FrameConv1d(channels[-1], channels[-1], 1)
        self.project = nn.Linear(channels[-1], embedding)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode.

        Args:
            features: (B, M, F), F at least 1.
            frames: (B,) valid ones of each clip, at least 1; None: all.
        """
        mask = None if frames is None else _mask(features, frames)
        x = apply_mask(features, mask)
        if self.stem:
            x = x[:, None]
            for level, convolution in enumerate(self.convolutions):
                if level == 0 and frames is not None:
                    frames = (frames + 1) // 2
                x = nn.functional.silu(convolution(x))
                mask = None if frames is None else _mask(x, frames)
                x = apply_mask(self.norm(x), None if mask is None else mask[..., None, :])
            x = rearrange(x, "b c m f -> b (c m) f")
        x = self.conv_in(x)
        for level, blocks in enumerate(self.levels):
            if level:
                x = nn.functional.pad(apply_mask(x, mask), (0, x.shape[-1] % 2))
                x = self.downsample[level - 1](x, None)
                frames = None if frames is None else (frames + 1) // 2
                mask = None if frames is None else _mask(x, frames)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, mask=mask)
        return self.project(self._pool(self.norm(x), mask))

    def _pool(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, F) to (B, C), each head's channels by its own weights of the frames."""
        scores = self.pooling(x)
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -torch.inf)
        values = rearrange(self.values(x), "b (heads c) f -> b heads c f", heads=self.heads)
        return (values * scores.softmax(-1)[:, :, None]).sum(-1).flatten(1)


def _mask(x: Tensor, frames: Tensor) -> Tensor:
    """(B, 1, F), one before each clip's end."""
    return (torch.arange(x.shape[-1], device=x.device) < frames.to(x.device)[:, None])[:, None].to(x.dtype)
