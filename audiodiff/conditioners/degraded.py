"""Conditions of a restorer: spectral envelopes of its input and of what that lacks, the input, and what is known."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.nn.condition import Condition

SHARES = 2  # channels of `shares`


class Degraded(Conditioner):
    """Two log-mels (B, M, F) and shares (B, 2, F) to frames; an excitation and a saturation (B, T) to two signals.

    Args:
        mel_spec: of the mels.
    """

    name = "degraded"
    signal_channels = 2

    def __init__(self, mel_spec: MelSpec):
        super().__init__()
        self.mel_spec, self.frame_channels = mel_spec, 2 * mel_spec.n_mels + SHARES

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Of `mel`, of the input, `envelope`, of what it lacks, `shares`, `excitation` and `saturation`."""
        mels = [normalize_mel(batch[name], self.mel_spec) for name in ("mel", "envelope")]
        signals = [batch[name] for name in ("excitation", "saturation")]
        return Condition(frames=torch.cat([*mels, batch["shares"]], 1), signal=torch.stack(signals, 1))


def shares(free: Tensor, saturation: Tensor, spec: MelSpec, frames: int) -> Tensor:
    """Shares (B, 2, frames) of each hop's samples that may be anything, and that are clipped (the root of these).

    Args:
        free: (B, T) 1 where a sample may be anything, else 0.
        saturation: (B, T) 1 or -1 where a sample was clipped, else 0.
        spec: of the frames.
        frames: F.
    """
    hop = spec.hop_length
    before = hop // 2 - spec.offset  # frames are centered at multiples of the hop
    both = torch.nn.functional.pad(
        torch.stack([free, saturation.abs()], 1), (before, frames * hop - before - free.shape[-1])
    )
    share = torch.nn.functional.avg_pool1d(both, hop)
    return torch.cat([share[:, :1], share[:, 1:].sqrt()], 1)
