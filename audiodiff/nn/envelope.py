"""`EnvelopeNetwork`: the spectral envelope of a signal, or of what it lacks, from that of the degraded signal."""

import torch
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm
from audiodiff.ranges import NonNegative, Positive

_MAX_BLOCKS = 16  # the last has a half-width of 2^15 frames


class EnvelopeNetwork(nn.Module):
    """Normalized mel frames (B, M, F) of a degraded signal to those of another one; identity at first.

    Args:
        bands: M.
        channels: width.
        blocks: number of residual blocks, at most 16; their dilations are 1, 2, 4, ...
        further: input channels behind the mel, which say what happened to the signal.

    Raises:
        ValueError: more blocks.
    """

    def __init__(self, bands: Positive, channels: Positive = 128, blocks: NonNegative = 3, further: NonNegative = 0):
        super().__init__()
        if blocks > _MAX_BLOCKS:
            raise ValueError(f"blocks={blocks} must be at most {_MAX_BLOCKS}")
        self.bands, self.channels, self.blocks, self.further = bands, channels, blocks, further
        self.conv_in = FrameConv1d(bands + further, channels, 3, padding=1)
        self.dilated = nn.ModuleList(
            FrameConv1d(channels, channels, 3, padding=2**k, dilation=2**k) for k in range(blocks)
        )
        self.project = nn.ModuleList(FrameConv1d(channels, channels, 1) for _ in range(blocks))
        self.norm = ChannelNorm()
        self.conv_out = FrameConv1d(channels, bands, 1)
        for weight in self.conv_out.parameters():
            nn.init.zeros_(weight)

    @property
    def receptive_field(self) -> int:
        """Half-width in frames."""
        return 2**self.blocks

    def forward(self, mel: Tensor, further: Tensor | None = None) -> Tensor:
        """The predicted normalized mel (B, M, F), of a mel (B, M, F) and further channels (B, `further`, F)."""
        hidden = self.conv_in(mel if further is None else torch.cat([mel, further], 1))
        for dilated, project in zip(self.dilated, self.project, strict=True):
            hidden = hidden + project(nn.functional.silu(dilated(self.norm(hidden))))
        return mel + self.conv_out(self.norm(hidden))
