"""Blocks with large depthwise kernels, over feature frames `(B, C, F)`.

Frames are mixed by a depthwise convolution with a wide kernel, channels by a perceptron that widens and narrows them
(Liu et al., "A ConvNet for the 2020s", arXiv 2201.03545; in one dimension as in Vocos, arXiv 2306.00814). Nearly all of
the work is in two matrix products, and a block sees three frames to each side for what a kernel of 3 costs the
depthwise part, next to nothing.
"""

from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm, apply_mask, modulate, modulation

EXPANSION = 2  # width of the perceptron in channels: a block then has as many products as a `ResidualBlock`


class ConvNextBlock(nn.Module):
    """Depthwise convolution, norm, modulation by noise level (FiLM) and condition, perceptron.

    Args:
        channels, embedding, condition, dilation: as of `ResidualBlock`.
        kernel: odd width of the depthwise convolution.
        inner: channels within the perceptron; None: `EXPANSION` times C.
    """

    def __init__(
        self,
        channels: int,
        embedding: int,
        condition: int,
        dilation: int = 1,
        kernel: int = 7,
        inner: int | None = None,
    ):
        super().__init__()
        inner = inner or EXPANSION * channels
        padding = dilation * (kernel // 2)
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
        self.norm = ChannelNorm()
        self.modulation = modulation(embedding, channels) if embedding else None
        self.condition = FrameConv1d(condition, channels, 1) if condition else None
        self.widen = FrameConv1d(channels, inner, 1)
        self.narrow = FrameConv1d(inner, channels, 1)

    @property
    def inner_convolutions(self) -> tuple[FrameConv1d, FrameConv1d]:
        """What writes and what reads the inner channels."""
        return self.widen, self.narrow

    @property
    def receptive_field(self) -> int:
        """Half-width in frames."""
        return int(self.depthwise.padding[0])

    def forward(
        self,
        x: Tensor,
        embedding: Tensor | None = None,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
        projected: Tensor | None = None,
    ) -> Tensor:
        """Apply the block to `(B, C, F)`; `projected`: what `self.condition` makes of the condition, if it is known."""
        hidden = self.norm(self.depthwise(apply_mask(x, mask)))
        if self.modulation is not None:
            hidden = modulate(hidden, self.modulation(embedding))
        if self.condition is not None:
            hidden = hidden + (self.condition(condition) if projected is None else projected)
        return x + self.narrow(nn.functional.silu(self.widen(hidden)))
