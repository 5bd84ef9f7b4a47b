"""Text encoder: symbols of a text to hidden vectors, and these, at their durations, to frames.

The encoder is a stack of residual convolutions with self-attention at its end. The length regulator (Ren et al. 2019,
FastSpeech, arXiv 1905.09263) repeats the vector of each symbol for as many frames as it lasts, together with the
position of the frame in its symbol. The frame decoder refines the result at the rate of the diffusion process.
"""

import torch
from torch import Tensor, nn

from audiodiff.nn.attention import SelfAttention
from audiodiff.nn.convolution import FrameConv1d
from audiodiff.nn.layers import ResidualBlock, apply_mask
from audiodiff.ranges import Positive

POSITION_FEATURES = 3


class TextEncoder(nn.Module):
    """Symbols (B, N) to hidden vectors (B, channels, N).

    Args:
        symbols: number of symbol ids.
        channels: C.
        blocks: residual blocks.
        kernel: odd width of their convolutions, in symbols.
        embedding: width of the speaker embedding that modulates them.
    """

    def __init__(
        self,
        symbols: Positive,
        channels: Positive = 192,
        blocks: Positive = 4,
        kernel: Positive = 5,
        embedding: Positive = 128,
    ):
        super().__init__()
        self.symbols, self.channels, self.num_blocks, self.kernel = symbols, channels, blocks, kernel
        self.embedding = embedding
        self.table = nn.Embedding(symbols, channels)
        self.blocks = nn.ModuleList(ResidualBlock(channels, embedding, 0, 1, kernel) for _ in range(blocks))
        self.attention = SelfAttention(channels)

    def forward(self, tokens: Tensor, mask: Tensor, speaker: Tensor) -> Tensor:
        """Encode.

        Args:
            tokens: (B, N) ids.
            mask: (B, 1, N), one for the symbols of each text, zero beyond.
            speaker: (B, embedding).
        """
        hidden = self.table(tokens).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden, speaker, None, mask)
        return apply_mask(self.attention(hidden, mask), mask)


class FrameDecoder(nn.Module):
    """Vectors of symbols, at their durations, to frames of the process.

    Args:
        channels: C of the symbols and of the frames.
        blocks: residual blocks, with dilations 1, 2, 4, 1, ...
        embedding: width of the speaker embedding.
        fold: mel frames that are one frame of the process.
    """

    def __init__(self, channels: Positive, blocks: Positive, embedding: Positive, fold: Positive):
        super().__init__()
        self.fold = fold
        self.position = FrameConv1d(POSITION_FEATURES, channels, 1)
        self.downsample = FrameConv1d(channels, channels, fold, stride=fold)
        self.blocks = nn.ModuleList(ResidualBlock(channels, embedding, 0, 2 ** (k % 3)) for k in range(blocks))

    def forward(self, hidden: Tensor, durations: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Regulate and decode.

        Args:
            hidden: (B, C, N) vectors of symbols.
            durations: (B, N) int64 mel frames of each symbol, zero beyond the end of a text.
            speaker: (B, embedding).

        Returns:
            Frames (B, C, F) and the number of valid ones (B,), F the largest.
        """
        frames, positions, lengths = regulate(hidden, durations)
        frames = frames + self.position(positions)
        pad = -frames.shape[-1] % self.fold
        valid = (torch.arange(frames.shape[-1] + pad, device=frames.device) < lengths[:, None])[:, None].to(
            frames.dtype
        )
        frames = self.downsample(nn.functional.pad(frames, (0, pad)) * valid)
        folded = -(-lengths // self.fold)
        mask = (torch.arange(frames.shape[-1], device=frames.device) < folded[:, None])[:, None].to(frames.dtype)
        for block in self.blocks:
            frames = block(frames, speaker, None, mask)
        return apply_mask(frames, mask), folded


def regulate(hidden: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Repeat the vector of each symbol for its duration.

    Args:
        hidden: (B, C, N).
        durations: (B, N) int64 frames, at least 0.

    Returns:
        Frames (B, C, F); positions (B, 3, F): share of the symbol before the frame's center, its complement, and the
        logarithm of the symbol's duration; and lengths (B,). Beyond the end of a clip frames and positions are zero.
    """
    ends = durations.cumsum(1)
    lengths = ends[:, -1]
    time = torch.arange(int(lengths.max()), device=hidden.device).expand(len(hidden), -1).contiguous()
    index = torch.searchsorted(ends.contiguous(), time, right=True)
    inside = (time < lengths[:, None])[:, None].to(hidden.dtype)
    index = index.clamp(max=durations.shape[1] - 1)
    frames = hidden.gather(2, index[:, None].expand(-1, hidden.shape[1], -1))
    duration = durations.gather(1, index).clamp(min=1).to(hidden.dtype)
    share = ((time - ends.gather(1, index)).to(hidden.dtype) + 0.5) / duration + 1
    positions = torch.stack([share, 1 - share, duration.log()], dim=1)
    return frames * inside, positions * inside, lengths


def whole_frames(durations: Tensor) -> Tensor:
    """Durations (B, N) in frames, rounded so that every partial sum is rounded to the nearest.

    Returns:
        (B, N) int64, at least 0.
    """
    ends = durations.double().cumsum(1).round().long()
    return torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1]))
