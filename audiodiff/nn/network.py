"""A network is a front end around a U-Net, with the condition brought to the front end's clock."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.nn.condition import Condition, PreparedCondition
from audiodiff.nn.frontends.frontend import Frontend
from audiodiff.nn.layers import apply_mask
from audiodiff.nn.unet1d import UNet1d, length_mask
from audiodiff.ranges import NonNegative, Positive


class Network(nn.Module):
    """`network(x, log_snr, cond)`: (B, C, T) to (B, num_outputs x C, T), any T; zero at initialization.

    Args:
        frontend: samples to frames and back.
        condition: M, channels of the conditioning frames; 0 for none.
        condition_hop: samples between conditioning frames; frame k is centered at sample k x condition_hop.
        channels, blocks, dilation_cycle, embedding, attention_levels, gradient_checkpointing: of the `UNet1d`.
        num_outputs: number of predicted signals, each of the input's channels: 2 for a mean and its variance.
        token_channels, attention_heads, block: of the `UNet1d`.
        fold: frames of the front end that are one frame of the `UNet1d`, side by side as channels.
        inner_channels: of the `UNet1d`.

    Raises:
        ValueError: num_outputs below 1, or as `UNet1d`.
    """

    def __init__(
        self,
        frontend: Frontend,
        condition: NonNegative = 0,
        condition_hop: Positive = 1,
        channels: Sequence[Positive] = (256, 384),
        blocks: Sequence[NonNegative] = (3, 3),
        dilation_cycle: Positive = 3,
        embedding: Positive = 128,
        attention_levels: NonNegative = 0,
        num_outputs: int = 1,
        gradient_checkpointing: bool = False,
        token_channels: NonNegative = 0,
        attention_heads: Positive = 4,
        block: str = "residual",
        fold: Positive = 1,
        inner_channels: Sequence[Positive] | None = None,
    ):
        super().__init__()
        if num_outputs < 1:
            raise ValueError(f"a network predicts at least one signal, got num_outputs = {num_outputs}")
        self.frontend, self.condition, self.condition_hop = frontend, condition, condition_hop
        self.channels, self.blocks, self.dilation_cycle = list(channels), list(blocks), dilation_cycle
        self.embedding, self.num_outputs = embedding, int(num_outputs)
        self.gradient_checkpointing = gradient_checkpointing
        self.attention_levels, self.attention_heads = attention_levels, attention_heads
        self.token_channels, self.block, self.fold = token_channels, block, fold
        self.unet = UNet1d(
            fold * frontend.in_features,
            fold * num_outputs * frontend.out_features,
            condition=fold * condition,
            channels=channels,
            blocks=blocks,
            dilation_cycle=dilation_cycle,
            embedding=embedding,
            attention_levels=attention_levels,
            gradient_checkpointing=gradient_checkpointing,
            token_channels=token_channels,
            attention_heads=attention_heads,
            block=block,
            inner_channels=inner_channels,
        )
        self.inner_channels = self.unet.inner_channels

    @property
    def receptive_field(self) -> int | None:
        """Half-width in samples: input and conditioning frames beyond it do not matter; None: everything matters.

        An output sample is a sum over frames around it, each a function of frames around that, each of these analyzed
        from samples and interpolated between two conditioning frames.
        """
        front, unet = self.frontend, self.unet.receptive_field
        inputs = max(front.receptive_field, self.condition_hop if self.condition else 0)
        if unet is None:
            return None
        return front.receptive_field + (self.fold * (unet + 1) - 1) * front.stride + inputs

    @property
    def grid(self) -> int:
        """Shift equivariance in samples: a stretch of a signal that begins at a multiple has the same frames."""
        return math.lcm(self.frontend.stride * self.fold * self.unet.stride, self.condition_hop)

    def prepare(self, cond: Condition | None, x: Tensor) -> PreparedCondition:
        """What a condition adds to every block and every cross-attention, for calls with signals of the size of x.

        Raises:
            ValueError: as a call.
        """
        cond = cond or Condition()
        self._check(x, cond)
        frames, tokens = self._aligned(cond, self._padded(x.shape[-1]), x.dtype)
        blocks, attention = self.unet.project(frames, tokens, cond.token_mask)
        return PreparedCondition(**cond.tensors(), blocks=blocks, attention=attention)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        """Predict from the noisy signal.

        Args:
            x: (B, C, T) noisy signal.
            log_snr: (B,) noise levels, finite.
            cond: frames (B, M, F), which hold their last frame beyond their end, and as many signals (B, S, T) as the
                front end has; tokens, a global embedding and valid lengths are optional.

        Raises:
            ValueError: the condition's batch, channels or presence does not fit.
        """
        cond = cond or Condition()
        self._check(x, cond)
        batch, _, samples = x.shape
        if cond.signal is not None:
            x = torch.cat([x, cond.signal.to(x.dtype)], dim=1)
        if cond.samples is not None:
            x = x * length_mask(cond.samples, samples, x.dtype)
        frames: Any = self.frontend.frames(samples)
        padded = self._padded(samples)
        features, state = self.frontend.encode(x, padded)
        mask = None
        if cond.samples is not None or padded != frames:
            valid = torch.full((batch,), frames, device=x.device)
            valid = valid if cond.samples is None else torch.as_tensor(self.frontend.frames(cond.samples))
            mask = length_mask(-(-valid // self.fold), padded // self.fold, features.dtype)
        known = (cond.blocks, cond.attention) if isinstance(cond, PreparedCondition) else None
        condition, tokens = (None, None) if known else self._aligned(cond, padded, features.dtype)
        embedding = cond.global_embedding
        embedding = None if embedding is None else embedding.to(self.unet.conv_in.weight.dtype)
        output = self.unet(self._fold(features), log_snr, condition, mask, embedding, tokens, cond.token_mask, known)
        output = output if cond.samples is None else apply_mask(output, mask)
        output = rearrange(output, "b (k c) f -> b c (f k)", k=self.fold)
        parts = output.chunk(self.num_outputs, dim=1)
        decoded = torch.cat([self.frontend.decode(part, state, samples) for part in parts], dim=1)
        return decoded if cond.samples is None else decoded * length_mask(cond.samples, samples, decoded.dtype)

    def _padded(self, samples: int) -> int:
        """Frames of the U-Net's input, before they are folded."""
        frames: Any = self.frontend.frames(samples)
        return frames + -frames % (self.fold * self.unet.stride)

    def _aligned(self, cond: Condition, frames: int, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """Frames and tokens as the U-Net reads them."""
        aligned = None if cond.frames is None else self._fold(self._align(cond.frames, frames).to(dtype))
        return aligned, None if cond.tokens is None else cond.tokens.to(dtype)

    def _fold(self, frames: Tensor) -> Tensor:
        """(B, C, F) to (B, fold x C, F / fold)."""
        return rearrange(frames, "b c (f k) -> b (k c) f", k=self.fold)

    def _align(self, condition: Tensor, frames: int) -> Tensor:
        """(B, M, F) to (B, M, frames): read at the centers of the front end's frames, by linear interpolation."""
        if self.condition_hop == self.frontend.stride and not self.frontend.offset and condition.shape[-1] >= frames:
            return condition[..., :frames]  # on the same clock
        centers = self.frontend.offset + self.frontend.stride * torch.arange(frames, device=condition.device)
        position = (centers / self.condition_hop).clamp(0, condition.shape[-1] - 1)
        low = position.floor().long()
        high = (low + 1).clamp(max=condition.shape[-1] - 1)
        fraction = (position - low).to(condition.dtype)[:, None]
        rows = condition.transpose(1, 2)  # frame by frame in memory, as convolutions read them
        return torch.lerp(rows[:, low], rows[:, high], fraction).transpose(1, 2)

    def _check(self, x: Tensor, cond: Condition) -> None:
        channels = 0 if cond.frames is None else cond.frames.shape[1]
        if channels != self.condition:
            raise ValueError(f"the network takes {self.condition} conditioning channels, got {channels}")
        signals = 0 if cond.signal is None else cond.signal.shape[1]
        if signals != self.frontend.signals:
            raise ValueError(f"the network takes {self.frontend.signals} conditioning signals, got {signals}")
        if cond.tokens is not None and cond.tokens.shape[-1] != self.token_channels:
            widths = f"{self.token_channels} channels, got {cond.tokens.shape[-1]}"
            raise ValueError(f"the network takes tokens of {widths}")
        if cond.global_embedding is not None and cond.global_embedding.shape[-1] != self.embedding:
            widths = f"{self.embedding} channels, got {cond.global_embedding.shape[-1]}"
            raise ValueError(f"the network takes a global embedding of {widths}")
        # Spelled out for torch.compile.
        for name in ("frames", "samples", "signal", "tokens", "token_mask", "global_embedding"):
            value = getattr(cond, name)
            if value is not None and value.shape[0] != x.shape[0]:
                raise ValueError(f"cond.{name} has a batch of {value.shape[0]}, the input of {x.shape[0]}")
