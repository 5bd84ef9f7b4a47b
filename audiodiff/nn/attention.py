"""Self-attention over frames, for the bottom of the U-Net where frames are few."""

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.nn.layers import ChannelNorm


class SelfAttention(nn.Module):
    """Pre-norm multi-head self-attention (Vaswani et al. 2017) as a residual branch, zero at initialization.

    Order in time comes from the convolutions around it: there is no position code, so any length is as good as another.

    Args:
        channels: C, in and out; a multiple of `heads`.
        heads: attention heads.
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels={channels} is not a multiple of heads={heads}")
        self.heads = heads
        self.norm = ChannelNorm()
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.project = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(B, C, F)` to the same; frames beyond a clip's end are never attended to."""
        query, key, value = rearrange(
            self.qkv(self.norm(x)), "b (three heads c) f -> three b heads f c", three=3, heads=self.heads
        )
        allowed = None if mask is None else mask[:, None].to(torch.bool)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return x + self.project(rearrange(attended, "b heads f c -> b (heads c) f"))
