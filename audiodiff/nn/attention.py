"""Attention of feature frames: on each other, and on tokens. For the low levels of the U-Net, where frames are few.

Both are residual branches with a norm before them and multi-head scaled dot-product attention inside (Vaswani et al.
2017, arXiv 1706.03762), zero at initialization.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm


class SelfAttention(nn.Module):
    """Self-attention over frames.

    The convolutions around it encode positions: there is no position code, so it takes any length.

    Args:
        channels: C, in and out; a multiple of `heads`.
        heads: number of attention heads.

    Raises:
        ValueError: channels is not a multiple of heads.
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = check_heads(channels, heads)
        self.norm = ChannelNorm()
        self.qkv = FrameConv1d(channels, 3 * channels, 1)
        self.project = FrameConv1d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        if self.project.bias is not None:
            nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(B, C, F)` to the same; frames beyond a clip's end are never attended to."""
        query, key, value, allowed = self._parts(x, mask)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return x + self.project(rearrange(attended, "b heads f c -> b (heads c) f"))

    def weights(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` attends with: (B, heads, F, F), a row for each frame; rows sum to 1."""
        query, key, _, allowed = self._parts(x, mask)
        return _weights(query, key, allowed)

    def _parts(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries, keys and values (B, heads, F, c), and which keys are allowed."""
        query, key, value = rearrange(
            self.qkv(self.norm(x)), "b (three heads c) f -> three b heads f c", three=3, heads=self.heads
        )
        return query, key, value, None if mask is None else mask[:, None].to(torch.bool)


class CrossAttention(nn.Module):
    """Attention of frames on tokens, such as an encoded text.

    Tokens are joined by one of zeros, key and value (`add_zero_attn` of `nn.MultiheadAttention`), and nothing after it
    has a bias: a clip without a valid token gets x back, which is what a network without tokens computes.

    Args:
        channels: C, in and out; a multiple of `heads`.
        token_channels: D of the tokens.
        heads: number of attention heads.

    Raises:
        ValueError: channels is not a multiple of heads.
    """

    def __init__(self, channels: int, token_channels: int, heads: int = 4):
        super().__init__()
        self.heads = check_heads(channels, heads)
        self.norm = ChannelNorm()
        self.query = FrameConv1d(channels, channels, 1)
        self.key_value = nn.Linear(token_channels, 2 * channels, bias=False)
        self.project = FrameConv1d(channels, channels, 1, bias=False)
        nn.init.zeros_(self.project.weight)

    def project_tokens(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Keys and values (B, N + 1, 2 C) of tokens (B, N, D) and the one of zeros; a masked one is as that."""
        if mask is not None:
            # Not only left out of the sums: what is masked may be anything, and infinity times zero is NaN.
            tokens = tokens.masked_fill(~mask[..., None], 0)
        return self.key_value(nn.functional.pad(tokens, (0, 0, 0, 1)))

    def forward(
        self, x: Tensor, tokens: Tensor | None, mask: Tensor | None = None, projected: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            x: (B, C, F) frames.
            tokens: (B, N, D).
            mask: (B, N) bool, True where a token is valid; None: all are.
            projected: what `project_tokens` makes of tokens and mask, if it is known.

        Returns:
            (B, C, F)
        """
        query, key, value, allowed = self._parts(x, tokens, mask, projected)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return x + self.project(rearrange(attended, "b heads f c -> b (heads c) f"))

    def weights(
        self, x: Tensor, tokens: Tensor | None, mask: Tensor | None = None, projected: Tensor | None = None
    ) -> Tensor:
        """What `forward` attends with: (B, heads, F, N + 1), the token of zeros last; rows sum to 1."""
        query, key, _, allowed = self._parts(x, tokens, mask, projected)
        return _weights(query, key, allowed)

    def _parts(
        self, x: Tensor, tokens: Tensor | None, mask: Tensor | None, projected: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries (B, heads, F, c), keys and values (B, heads, N + 1, c), and which keys are allowed."""
        if projected is None:
            assert tokens is not None  # one of both is given
            projected = self.project_tokens(tokens, mask)
        allowed = None if mask is None else nn.functional.pad(mask, (0, 1), value=True)[:, None, None]
        query = rearrange(self.query(self.norm(x)), "b (heads c) f -> b heads f c", heads=self.heads)
        key, value = rearrange(projected, "b n (two heads c) -> two b heads n c", two=2, heads=self.heads)
        return query, key, value, allowed


def _weights(query: Tensor, key: Tensor, allowed: Tensor | None) -> Tensor:
    """softmax(query key^T / sqrt(c)) over allowed keys."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return (scores if allowed is None else scores.masked_fill(~allowed, -torch.inf)).softmax(-1)


def check_heads(channels: int, heads: int) -> int:
    """The number of heads, if it divides the channels. Raises ValueError otherwise."""
    if channels % heads:
        raise ValueError(f"channels={channels} is not a multiple of heads={heads}")
    return heads
