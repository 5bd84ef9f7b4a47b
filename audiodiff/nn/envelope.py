"""`EnvelopeNetwork`: the spectral envelope of a full-band signal from that of its lower band."""

from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm
from audiodiff.ranges import NonNegative, Positive

_MAX_BLOCKS = 16  # the last has a half-width of 2^15 frames


class EnvelopeNetwork(nn.Module):
    """Normalized mel frames (B, M, F) of a band-limited signal to those of the full-band one; identity at first.

    Args:
        bands: M.
        channels: width.
        blocks: number of residual blocks, at most 16; their dilations are 1, 2, 4, ...

    Raises:
        ValueError: more blocks.
    """

    def __init__(self, bands: Positive, channels: Positive = 128, blocks: NonNegative = 3):
        super().__init__()
        if blocks > _MAX_BLOCKS:
            raise ValueError(f"blocks={blocks} must be at most {_MAX_BLOCKS}")
        self.bands, self.channels, self.blocks = bands, channels, blocks
        self.conv_in = FrameConv1d(bands, channels, 3, padding=1)
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

    def forward(self, mel: Tensor) -> Tensor:
        """The full band's normalized mel (B, M, F)."""
        hidden = self.conv_in(mel)
        for dilated, project in zip(self.dilated, self.project, strict=True):
            hidden = hidden + project(nn.functional.silu(dilated(self.norm(hidden))))
        return mel + self.conv_out(self.norm(hidden))
