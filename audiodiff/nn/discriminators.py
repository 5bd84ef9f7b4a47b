"""Heads of discriminators: from features of a network, or from spectra, to one score a clip."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiodiff.nn.layers import ChannelNorm
from audiodiff.ranges import Positive


class FeatureHeads(nn.Module):
    """A small convolutional head on each of several feature maps (B, C_i, F_i); scores are means over all of them.

    Args:
        widths: C_i.
        channels: inside a head.
    """

    def __init__(self, widths: Sequence[Positive], channels: Positive = 64):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                ChannelNorm(),
                nn.Conv1d(width, channels, 3, padding=1),
                nn.SiLU(),
                nn.Conv1d(channels, channels, 3, padding=1),
                nn.SiLU(),
                nn.Conv1d(channels, 1, 1),
            )
            for width in widths
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B,) scores."""
        scores = [head(feature).mean((1, 2)) for head, feature in zip(self.heads, features, strict=True)]
        return torch.stack(scores).mean(0)


class StftDiscriminator(nn.Module):
    """Convolutions over the log-magnitude spectra of signals (B, C, T) at several resolutions, frames as positions.

    The multi-resolution discriminators of vocoders (Jang et al., "UnivNet", arXiv 2106.07889, section 2.3) as one
    `FeatureHeads`: frequencies are the channels of its first layers.

    Args:
        rows: C.
        windows: lengths of the Hann windows in samples, which overlap by three quarters.
        channels: of the convolutions.
    """

    def __init__(self, rows: Positive = 1, windows: Sequence[Positive] = (128, 512, 2048), channels: Positive = 64):
        super().__init__()
        self.rows, self.windows = rows, tuple(windows)
        self.heads = FeatureHeads([rows * (window // 2 + 1) for window in windows], channels)

    def forward(self, signal: Tensor) -> Tensor:
        """(B,) scores."""
        return self.heads([self._spectrum(signal.float(), window) for window in self.windows])

    def _spectrum(self, signal: Tensor, window: int) -> Tensor:
        """(B, C x bins, F)."""
        hann = torch.hann_window(window, device=signal.device)
        flat = nn.functional.pad(signal.flatten(0, 1), (0, max(window - signal.shape[-1], 0)))
        spectrum = torch.stft(
            flat, window, window // 4, window=hann, center=True, pad_mode="constant", return_complex=True
        )
        magnitude = (torch.view_as_real(spectrum).square().sum(-1) + 1e-6).log() / 2
        return magnitude.unflatten(0, (len(signal), -1)).flatten(1, 2)
