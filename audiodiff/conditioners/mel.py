"""The mel spectrogram that a vocoder turns into audio."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiodiff.audio.mel import MelSpec
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.nn.condition import Condition


class Mel(Conditioner):
    """Log-mels (B, M, F) to frames.

    Args:
        mel_spec: of the mels.
    """

    name = "mel"

    def __init__(self, mel_spec: MelSpec):
        super().__init__()
        self.mel_spec, self.frame_channels = mel_spec, mel_spec.n_mels

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Normalize `mel` (B, M, F)."""
        return Condition(frames=normalize_mel(batch["mel"], self.mel_spec))


def normalize_mel(mel: Tensor, spec: MelSpec) -> Tensor:
    """A log-mel brought to about -2 to 2 by its spec's floor."""
    return 2 - 4 * mel / float(spec.compress(torch.zeros(())))


def denormalize_mel(normalized: Tensor, spec: MelSpec) -> Tensor:
    """The inverse of `normalize_mel`."""
    return (2 - normalized) * (float(spec.compress(torch.zeros(()))) / 4)
