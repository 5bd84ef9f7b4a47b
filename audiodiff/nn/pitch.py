"""Pitch from a mel: F0 and voicing of each frame, by a small convolutional network.

The mel's low bands are narrow enough to show single harmonics. F0 is predicted as a distribution over logarithmic bins
and read as the mean around its highest bin (Kim et al. 2018, CREPE), which cannot fall between two octaves as a
regression does.
"""

import math

import torch
from torch import Tensor, nn

from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ChannelNorm, apply_mask
from audiodiff.nn.unet1d import length_mask
from audiodiff.ranges import NonNegative, Positive, PositiveFloat

_MAX_BLOCKS = 16  # the last has a half-width of 2^15 frames
_TILE = 256  # frames, besides those around them that matter


class PitchNetwork(nn.Module):
    """Pitch network: normalized mel frames (B, M, F) to F0 (B, F) in Hz and voicing (B, F) in [0, 1].

    Args:
        bands: M.
        channels: width.
        blocks: number of residual blocks, at most 16; their dilations are 1, 2, 4, ...
        bins: number of F0 bins, evenly spaced in its logarithm; at least 2.
        f0_min, f0_max: Hz, centers of the first and the last bin.

    Raises:
        ValueError: more blocks, fewer bins, or not 0 < f0_min < f0_max.
    """

    centers: Tensor

    def __init__(
        self,
        bands: Positive,
        channels: Positive = 128,
        blocks: NonNegative = 4,
        bins: Positive = 120,
        f0_min: PositiveFloat = 55.0,
        f0_max: PositiveFloat = 550.0,
    ):
        super().__init__()
        if blocks > _MAX_BLOCKS or bins < 2 or not 0 < f0_min < f0_max:
            raise ValueError(f"no pitch network has blocks={blocks}, bins={bins} and F0 from {f0_min} to {f0_max} Hz")
        self.bands, self.channels, self.blocks, self.bins = bands, channels, blocks, bins
        self.f0_min, self.f0_max = f0_min, f0_max
        self.conv_in = FrameConv1d(bands, channels, 3, padding=1)
        self.dilated = nn.ModuleList(
            FrameConv1d(channels, channels, 3, padding=2**k, dilation=2**k) for k in range(blocks)
        )
        self.project = nn.ModuleList(FrameConv1d(channels, channels, 1) for _ in range(blocks))
        self.norm = ChannelNorm()
        self.conv_out = FrameConv1d(channels, bins + 1, 1)
        centers = torch.linspace(math.log(f0_min), math.log(f0_max), bins)
        self.register_buffer("centers", centers, persistent=False)

    @property
    def receptive_field(self) -> int:
        """Half-width in frames."""
        return 2**self.blocks

    def logits(self, mel: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the bins (B, bins, F) and of voicing (B, F), of the frames where a mask (B, 1, F) is one."""
        hidden = self.conv_in(apply_mask(mel, mask))
        for dilated, project in zip(self.dilated, self.project, strict=True):
            hidden = hidden + project(nn.functional.silu(dilated(apply_mask(self.norm(hidden), mask))))
        out = self.conv_out(self.norm(hidden))
        return out[:, :-1], out[:, -1]

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """F0 and voicing of clips of which the first `frames` (B,) frames are valid; None: all."""
        bins, voicing = self.logits(mel, None if frames is None else length_mask(frames, mel.shape[-1], mel.dtype))
        return self._f0(bins), voicing.sigmoid()

    def tiled(self, mel: Tensor, frames: Tensor | None = None, first: int = 0) -> tuple[Tensor, Tensor]:
        """As `forward`, a frame's numbers the same to the bit in any part of a clip that has its receptive field.

        F0 is read off the bins in float64: the logarithm of a pitch has few digits left in float32, and an error of it
        adds up in a phase.

        Libraries round products differently for another number of rows or place among them. So every frame is computed
        in a tile of one size, at one place: frames [k, k + 1) x `_TILE` of the clip and what is around them, one clip
        and tile at a time.

        Args:
            mel: (B, M, F) normalized.
            frames: (B,) valid frames of each clip, at least 1; None: all F. What lies beyond repeats the last of them.
            first: the place in the clip of the first of them.
        """
        clips, size = [], mel.shape[-1]
        for clip, valid in zip(mel, [size] * len(mel) if frames is None else frames.tolist(), strict=True):
            starts = range(first // _TILE * _TILE, first + valid, _TILE)
            tiles = [self._tile(clip[:, :valid], start - first) for start in starts]
            tracks = torch.cat(tiles, -1)[:, first - starts[0] :][:, :valid]
            clips.append(torch.cat([tracks, tracks[:, -1:].expand(-1, size - valid)], -1))
        f0, voicing = torch.stack(clips, 1)
        return f0, voicing.to(mel.dtype)

    def _tile(self, clip: Tensor, start: int) -> Tensor:
        """F0 and voicing (2, `_TILE`), in float64, of a clip (M, F) from frame `start` on, where it has frames."""
        around = self.receptive_field
        begin, end = start - around, start + _TILE + around
        known = clip[None, :, max(0, begin) : end]
        before = max(0, -begin)
        after, mask = end - begin - before - known.shape[-1], None
        if before or after:
            known = nn.functional.pad(known, (before, after))
            place = torch.arange(end - begin, device=clip.device)
            mask = ((place >= before) & (place < end - begin - after)).to(clip.dtype)[None, None]
        bins, voicing = self.logits(known, mask)
        return torch.cat([self._f0(bins.double()), voicing.sigmoid().double()])[:, around:-around]

    def _f0(self, bins: Tensor) -> Tensor:
        """F0 (B, F) in Hz of the bins' logits (B, bins, F): the mean around the highest."""
        near = bins.argmax(dim=1, keepdim=True) + torch.arange(-2, 3, device=bins.device)[:, None]
        there = near.clamp(0, self.bins - 1)
        weights = bins.gather(1, there).masked_fill(near != there, -torch.inf).softmax(dim=1)
        return (weights * self.centers.to(weights)[there]).sum(1).exp()

    def loss(self, mel: Tensor, f0: Tensor, aperiodicity: Tensor) -> Tensor:
        """(B,) cross-entropies of a tracker's F0, weighted by the frame's periodicity, and of its voicing.

        Args:
            mel: (B, M, F).
            f0: (B, F) Hz.
            aperiodicity: (B, F) in [0, 1]; its voicing is 1/4 at 0.4, 1/2 at 0.3 and 3/4 at 0.2.
        """
        bins, voicing = self.logits(mel)
        step = self.centers[1] - self.centers[0]
        distance = (f0.log()[:, None] - self.centers[:, None]) / step
        target = (-0.5 * distance.square()).softmax(dim=1)
        voiced = ((0.3 - aperiodicity) / 0.1 * math.log(3)).sigmoid()
        pitch = -(target * bins.log_softmax(dim=1)).sum(1)
        voicing_loss = nn.functional.binary_cross_entropy_with_logits(voicing, voiced, reduction="none")
        return (voiced * pitch + voicing_loss).mean(1)
