"""The 1-D U-Net: dilated residual blocks at several frame rates, conditioned on the noise level at each.

Level 0 is the finest. Going down, each level runs its blocks and halves the frames; going up, it doubles them, adds
what the same level had on the way down, and runs its blocks again (Ronneberger et al. 2015, in one dimension).
Dilations cycle through 1, 2, 4, ... within a level, so a level of n blocks sees about 2^n frames to each side.

Conditions enter in three ways: frames through every block, a global embedding with that of the noise level, and tokens
by cross-attention at the lowest levels.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiodiff.nn.attention import CrossAttention, SelfAttention
from audiodiff.nn.convnext import ConvNextBlock
from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import DILATION_CYCLES, Downsample, NoiseLevelEmbedding, ResidualBlock, Upsample
from audiodiff.ranges import NonNegative, Positive

BLOCKS = {"residual": ResidualBlock, "convnext": ConvNextBlock}


class UNet1d(nn.Module):
    """Feature frames to feature frames of the same rate; zero at initialization.

    Args:
        in_features: channels of the input frames.
        out_features: channels of the output frames.
        condition: channels of the conditioning frames; 0 for none.
        channels: width of each level, finest first.
        blocks: residual blocks of each level (on the way down, and again on the way up except at the bottom).
        dilation_cycle: dilations are 2^(i mod dilation_cycle) for the i-th block of a level; in `DILATION_CYCLES`.
        embedding: width of the noise-level embedding, and of the global one.
        attention_levels: number of levels with self-attention, lowest first: after the blocks of the bottom, and of
            the way down and the way up of the levels above.
        gradient_checkpointing: recompute blocks in the backward pass: a third more time, and memory for one block and
            what lies between blocks (Chen et al. 2016, arXiv 1604.06174).
        token_channels: D of the tokens for cross-attention; 0 for none. It follows self-attention, and is at the bottom
            where `attention_levels` is 0.
        attention_heads: number of heads of both; divides the channels of these levels.
        block: kind of the blocks, one of `BLOCKS`: dilated kernels of 3 frames, or depthwise ones of 7.
        inner_channels: width inside the blocks of each level (`nn.pruning` narrows it); None: that of the kind.

    Raises:
        ValueError: levels, widths, a block, a dilation cycle, an attention or heads that do not fit.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        condition: int = 0,
        channels: Sequence[Positive] = (256, 384),
        blocks: Sequence[NonNegative] = (3, 3),
        dilation_cycle: Positive = 3,
        embedding: Positive = 128,
        attention_levels: NonNegative = 0,
        gradient_checkpointing: bool = False,
        token_channels: NonNegative = 0,
        attention_heads: Positive = 4,
        block: str = "residual",
        inner_channels: Sequence[Positive] | None = None,
    ):
        super().__init__()
        if len(channels) != len(blocks) or not channels:
            raise ValueError(f"channels={list(channels)} and blocks={list(blocks)} must have an entry for each level")
        self.inner_channels = None if inner_channels is None else list(inner_channels)
        if self.inner_channels is not None and len(self.inner_channels) != len(channels):
            raise ValueError(f"inner_channels={self.inner_channels} must have an entry for each level")
        self.in_features, self.out_features, self.condition = in_features, out_features, condition
        self.channels, self.blocks, self.dilation_cycle = list(channels), list(blocks), dilation_cycle
        if dilation_cycle not in DILATION_CYCLES:
            raise ValueError(f"dilation_cycle={dilation_cycle} is not in 1 to {DILATION_CYCLES[-1]}")
        if block not in BLOCKS:
            raise ValueError(f"block={block} is not one of {', '.join(BLOCKS)}")
        if attention_levels > len(channels):
            raise ValueError(f"attention_levels={attention_levels}, there are {len(channels)} levels")
        self.embedding, self.gradient_checkpointing = embedding, gradient_checkpointing
        self.attention_levels, self.attention_heads = attention_levels, attention_heads
        self.token_channels, self.block = token_channels, block

        def level(i: int) -> nn.ModuleList:
            inner = self.inner_channels[i] if self.inner_channels else None
            return nn.ModuleList(
                BLOCKS[block](channels[i], embedding, condition, dilation=2 ** (k % dilation_cycle), inner=inner)
                for k in range(blocks[i])
            )

        bottom = len(channels) - 1
        self.noise_level = NoiseLevelEmbedding(embedding)
        self.conv_in = FrameConv1d(in_features, channels[0], 1)
        self.down = nn.ModuleList(level(i) for i in range(bottom))
        self.downsample = nn.ModuleList(Downsample(channels[i], channels[i + 1]) for i in range(bottom))
        self.bottom = level(bottom)
        places = {"bottom": channels[bottom]}
        for i in range(bottom + 1 - max(attention_levels, 1), bottom):
            places |= {f"{way}{i}": channels[i] for way in ("down", "up")}
        self.attention = nn.ModuleDict()
        if attention_levels:
            self.attention.update({place: SelfAttention(width, attention_heads) for place, width in places.items()})
        self.upsample = nn.ModuleList(Upsample(channels[i + 1], channels[i]) for i in range(bottom))
        self.up = nn.ModuleList(level(i) for i in range(bottom))
        self.conv_out = FrameConv1d(channels[0], out_features, 1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)
        self.cross_attention = nn.ModuleDict()
        if token_channels:
            self.cross_attention.update(
                {place: CrossAttention(width, token_channels, attention_heads) for place, width in places.items()}
            )

    @property
    def stride(self) -> int:
        """The number of frames must be a multiple of this."""
        return 2 ** (len(self.channels) - 1)

    def levels(self) -> list[list[nn.Module]]:
        """All blocks of each level, on the way down and up."""
        ways = [*zip(self.down, self.up, strict=True), (self.bottom,)]
        return [[block for way in level for block in cast(nn.ModuleList, way)] for level in ways]

    @property
    def receptive_field(self) -> int | None:
        """Half-width in frames: input and conditioning frames beyond it do not matter; None: everything matters.

        Of a pair that is one frame at the level below, one frame sees one further to the left and the other to the
        right: each level doubles the half-width below it and adds one, besides its own blocks on the way down and up.
        """
        if self.attention:
            return None
        levels = [cast(nn.ModuleList, level) for level in (*self.down, self.bottom)]
        *above, width = [sum(cast(ResidualBlock, block).receptive_field for block in level) for level in levels]
        for level_width in reversed(above):
            width = 2 * width + 1 + 2 * level_width
        return width

    def forward(
        self,
        x: Tensor,
        log_snr: Tensor,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
        global_embedding: Tensor | None = None,
        tokens: Tensor | None = None,
        token_mask: Tensor | None = None,
        projected: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
    ) -> Tensor:
        """Run the U-Net.

        Args:
            x: (B, in_features, F) frames, F a multiple of `stride`.
            log_snr: (B,) noise levels.
            condition: (B, condition, F) aligned with x.
            mask: (B, 1, F) or None.
            global_embedding: (B, embedding), added to that of the noise level; or None.
            tokens: (B, N, token_channels) for cross-attention; None is unconditional.
            token_mask: (B, N) bool, True where a token is valid; None: all are.
            projected: of `project`, in place of condition and tokens.

        Returns:
            (B, out_features, F), not masked
        """
        if projected is None and (condition is None) != (self.condition == 0):
            channels = 0 if condition is None else condition.shape[1]
            raise ValueError(f"the network takes {self.condition} conditioning channels, got {channels}")
        embedding = self.noise_level(log_snr)
        embedding = nn.functional.silu(embedding if global_embedding is None else embedding + global_embedding)
        conditions, masks = self._levels_of(condition), [mask]
        for _ in self.down:
            mask = None if mask is None else torch.maximum(mask[..., ::2], mask[..., 1::2])
            masks.append(mask)
        of_blocks, of_tokens = (iter(part) for part in projected or ((), ()))

        def run(place: str, blocks: Iterable[nn.Module], hidden: Tensor, level: int) -> Tensor:
            for block in blocks:
                hidden = self._run_block(
                    block, hidden, embedding, conditions[level], masks[level], next(of_blocks, None)
                )
            if place in self.attention:
                hidden = self.attention[place](hidden, masks[level])
            if place in self.cross_attention:
                keys = next(of_tokens, None)
                if tokens is not None or keys is not None:
                    hidden = self.cross_attention[place](hidden, tokens, token_mask, keys)
            return hidden

        hidden, skips = self.conv_in(x), []
        for i, (blocks, downsample) in enumerate(zip(self.down, self.downsample, strict=True)):
            hidden = run(f"down{i}", cast(nn.ModuleList, blocks), hidden, i)
            skips.append(hidden)
            hidden = downsample(hidden, masks[i])
        hidden = run("bottom", self.bottom, hidden, -1)
        for i in reversed(range(len(self.down))):
            hidden = (self.upsample[i](hidden) + skips[i]) * 2**-0.5
            hidden = run(f"up{i}", cast(nn.ModuleList, self.up[i]), hidden, i)
        return self.conv_out(nn.functional.silu(hidden))

    def project(
        self, condition: Tensor | None, tokens: Tensor | None, token_mask: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What every block and every cross-attention computes of condition and tokens alone, in order of evaluation."""
        levels, ways = self._levels_of(condition), range(len(self.down))
        places: list[tuple[str, Any, int]] = [(f"down{i}", self.down[i], i) for i in ways]
        places += [("bottom", self.bottom, -1), *((f"up{i}", self.up[i], i) for i in reversed(ways))]
        blocks, attention = [], []
        for place, part, level in places:
            if condition is not None:
                blocks += [block.condition(levels[level]) for block in part]
            if place in self.cross_attention and tokens is not None:
                attention.append(cast(CrossAttention, self.cross_attention[place]).project_tokens(tokens, token_mask))
        return tuple(blocks), tuple(attention)

    def _levels_of(self, condition: Tensor | None) -> list[Tensor | None]:
        """The condition at the frame rate of each level."""
        conditions = [condition]
        for _ in self.down:
            # Of pairs, without pooling, which would fix the length in a compiled network.
            condition = None if condition is None else (condition[..., ::2] + condition[..., 1::2]) / 2
            conditions.append(condition)
        return conditions

    def _run_block(self, block: nn.Module, hidden: Tensor, *inputs: Tensor | None) -> Tensor:
        """Run a block on the hidden frames, with embedding, condition, mask and what is known of the condition."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, hidden, *inputs, use_reentrant=False)
        return block(hidden, *inputs)


def length_mask(valid: Tensor, frames: int, dtype: torch.dtype) -> Tensor:
    """(B, 1, frames): one for the first `valid` (B,) frames of each clip, zero beyond."""
    return (torch.arange(frames, device=valid.device) < valid[:, None])[:, None].to(dtype)
