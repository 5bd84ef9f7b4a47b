"""A small network that classifies noisy signals, at any noise level.

The signal's frames, of spectra their log power, pass residual blocks that are conditioned on the noise level, at
rates that halve from one to the next. What remains is pooled over time twice: by its mean, and by attention, since a
drum is one onset in a second of decay (Lin et al. 2017, "A structured self-attentive sentence embedding", arXiv
1703.03130).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.frontends.frontend import Frontend, pad_frames
from audiodiff.nn.layers import ChannelNorm, Downsample, NoiseLevelEmbedding, ResidualBlock, apply_mask
from audiodiff.nn.unet1d import length_mask
from audiodiff.ranges import NonNegative, Positive

_POWER_FLOOR = 0.1  # of a bin, where white noise of variance 1 has 1; bounds the gradient of the logarithm


class ClassifierNetwork(nn.Module):
    """`network(x, log_snr)`: (B, C, T) to logits (B, outputs), which are zero at initialization.

    Args:
        frontend: samples to frames.
        outputs: number of classes.
        channels: width of each level, finest first; each has half the frames of the one before.
        blocks: residual blocks of each level.
        embedding: width of the noise-level embedding.

    Raises:
        ValueError: another number of widths than of blocks, or none.
    """

    def __init__(
        self,
        frontend: Frontend,
        outputs: Positive,
        channels: Sequence[Positive] = (96, 128, 160),
        blocks: Sequence[NonNegative] = (1, 1, 1),
        embedding: Positive = 64,
    ):
        super().__init__()
        if not channels or len(channels) != len(blocks):
            raise ValueError(f"channels {list(channels)} and blocks {list(blocks)} must name the same levels")
        self.frontend, self.outputs = frontend, outputs
        self.channels, self.blocks, self.embedding = list(channels), list(blocks), embedding
        # Of spectra, a real and an imaginary part make one power.
        features = frontend.in_features // 2 if hasattr(frontend, "bins") else frontend.in_features
        self.noise_level = NoiseLevelEmbedding(embedding)
        self.conv_in = FrameConv1d(features, channels[0], 1)
        self.levels = nn.ModuleList(
            nn.ModuleList(ResidualBlock(width, embedding, 0, 2**number) for number in range(count))
            for width, count in zip(channels, blocks, strict=True)
        )
        self.downsample = nn.ModuleList(map(Downsample, channels[:-1], channels[1:]))
        self.norm, self.attention = ChannelNorm(), FrameConv1d(channels[-1], 1, 1)
        self.conv_out = nn.Linear(2 * channels[-1], outputs)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, log_snr: Tensor, samples: Tensor | None = None) -> Tensor:
        """Logits of a noisy signal.

        Args:
            x: (B, C, T), of a variance of about 1.
            log_snr: (B,) noise levels, finite.
            samples: (B,) valid samples of each clip; None: all.
        """
        if samples is not None:
            x = x * length_mask(samples, x.shape[-1], x.dtype)
        frames, stride = int(self.frontend.frames(x.shape[-1])), 2 ** (len(self.channels) - 1)
        padded = frames + -frames % stride
        features, state = self.frontend.encode(x, frames)
        if state.is_complex():
            features = (state.abs().square() + _POWER_FLOOR).log().flatten(1, 2).to(x.dtype)
        valid = torch.full((len(x),), frames, device=x.device)
        valid = valid if samples is None else torch.as_tensor(self.frontend.frames(samples))
        mask, embedding = length_mask(valid, padded, features.dtype), self.noise_level(log_snr)
        hidden = self.conv_in(pad_frames(features, padded))
        for number, blocks in enumerate(self.levels):
            if number:
                hidden, valid = self.downsample[number - 1](hidden, mask), -(-valid // 2)
                mask = length_mask(valid, hidden.shape[-1], hidden.dtype)
            for block in cast(nn.ModuleList, blocks):
                hidden = block(hidden, embedding, mask=mask)
        return self.conv_out(self._pool(self.norm(hidden), mask))

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Frames (B, C, F) to (B, 2 C): their mean, and their mean by attention, over the valid ones."""
        scores = self.attention(hidden).masked_fill(mask == 0, -torch.inf)
        mean = apply_mask(hidden, mask).sum(-1) / mask.sum(-1)
        return torch.cat([mean, (hidden * scores.softmax(-1)).sum(-1)], dim=1)
