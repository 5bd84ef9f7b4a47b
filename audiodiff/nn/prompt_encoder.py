"""Prompt encoder: vectors of a prompt's tokens to tokens for cross-attention.

The vectors know what a token means by itself. A small transformer (Vaswani et al. 2017, arXiv 1706.03762, norms before
the branches) adds where it stands and what stands around it: "a dog after rain" is not "rain after a dog".
"""

import torch
from torch import Tensor, nn

from audiodiff.nn.attention import SelfAttention
from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm
from audiodiff.ranges import NonNegative, Positive


class PromptEncoder(nn.Module):
    """Vectors (B, N, features) to tokens (B, N, channels).

    Args:
        features: of the vectors.
        channels: D of the tokens.
        layers: of the transformer; 0: a projection and positions.
        heads: of its attention.
        max_tokens: largest N.
    """

    def __init__(
        self, features: Positive, channels: Positive, layers: NonNegative, heads: Positive, max_tokens: Positive
    ):
        super().__init__()
        self.max_tokens = max_tokens
        self.conv_in = FrameConv1d(features, channels, 1)
        self.positions = nn.Parameter(torch.empty(channels, max_tokens))
        nn.init.normal_(self.positions, std=0.1)
        self.attention = nn.ModuleList(SelfAttention(channels, heads) for _ in range(layers))
        self.perceptrons = nn.ModuleList(_perceptron(channels) for _ in range(layers))
        self.norm = ChannelNorm()

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Encode.

        Args:
            vectors: (B, N, features).
            mask: (B, N) bool, True where a token is valid. Tokens beyond are arbitrary.
        """
        hidden = self.conv_in(vectors.transpose(1, 2)) + self.positions[:, : vectors.shape[1]]
        # Of an empty prompt the first token is attended to: attention on nothing is not a number, and its gradient.
        attended = mask | (torch.arange(mask.shape[1], device=mask.device) == 0)
        for attention, perceptron in zip(self.attention, self.perceptrons, strict=True):
            hidden = attention(hidden, attended[:, None])
            hidden = hidden + perceptron(hidden)
        return self.norm(hidden).transpose(1, 2)


def _perceptron(channels: int) -> nn.Sequential:
    perceptron = nn.Sequential(
        ChannelNorm(), FrameConv1d(channels, 4 * channels, 1), nn.SiLU(), FrameConv1d(4 * channels, channels, 1)
    )
    nn.init.zeros_(perceptron[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(perceptron[-1].bias)  # type: ignore[arg-type]
    return perceptron
