"""Conditions of an upsampler: the spectral envelopes of its input and of its estimated output, and an excitation."""

from collections.abc import Mapping
from typing import Any

import torch

from audiodiff.audio.mel import MelSpec
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.conditioners.mel import normalize_mel
from audiodiff.nn.condition import Condition


class KnownBand(Conditioner):
    """Two log-mels (B, M, F) to frames, one behind the other, and an excitation (B, T) to a signal.

    Args:
        mel_spec: of the mels.
    """

    name = "known_band"
    signal_channels = 1

    def __init__(self, mel_spec: MelSpec):
        super().__init__()
        self.mel_spec, self.frame_channels = mel_spec, 2 * mel_spec.n_mels

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Of `mel`, of the band that is known, `envelope`, of all bands, and `excitation`."""
        mels = [normalize_mel(batch[name], self.mel_spec) for name in ("mel", "envelope")]
        return Condition(frames=torch.cat(mels, 1), signal=batch["excitation"][:, None])
