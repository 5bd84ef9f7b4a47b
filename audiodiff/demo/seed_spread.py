"""How much a clip varies with its seed: numbers and a picture of the spread of takes, as in `audiodiff report`."""

import base64
from collections.abc import Sequence
from math import ceil, isfinite, log2
from typing import Any

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.mel.spec import MelSpec
from audiodiff.evaluation.mel_spread import audible, decibels, mel_spread
from audiodiff.evaluation.uncertainty_figure import figure

SEGMENT = 0.5  # s
_INCHES = 5.5  # width of the picture: its texts are read on a phone, too
_MEL: dict[str, Any] = {
    "n_mels": 64,
    "f_min": 0.0,
    "power": 1,
    "mel_scale": "slaney",
    "norm": "slaney",
    "log_base": "e",
    "log_floor": 1e-5,
    "center": True,
    "padding": "constant",
}


class SeedSpread:
    """The spread of takes of one clip.

    Args:
        takes: at one rate, (T,) or (C, T), whose channels are mixed; they are cut to the length of the shortest.
    """

    def __init__(self, takes: Sequence[Audio]):
        mono = [torch.atleast_2d(take.samples).mean(0).clamp(-1, 1) for take in takes]
        shortest = min(map(len, mono))
        self.spec = _spec(takes[0].sample_rate)
        self.mel, self.deviation = mel_spread(torch.stack([take[:shortest] for take in mono]).numpy(), self.spec)

    @property
    def summary(self) -> dict[str, Any]:
        """In dB, of the clip and of each segment of `SEGMENT` seconds, as JSON; None of silence."""
        included = audible(self.mel)
        frames = max(1, round(SEGMENT * self.spec.sample_rate / self.spec.hop_length))
        number = np.arange(len(included)) // frames
        segments = [_rounded(decibels(self.deviation, included & (number == one))) for one in range(number[-1] + 1)]
        whole = _rounded(decibels(self.deviation, included))
        return {"spread_db": whole, "spread_segment_seconds": SEGMENT, "spread_by_segment_db": segments}

    def picture(self) -> bytes:
        """Mean log-mel, its deviation, and its level in a band of one deviation; a PNG."""
        url = figure(self.mel, self.deviation, {}, self.spec.hop_length / self.spec.sample_rate, SEGMENT, _INCHES)
        return base64.b64decode(url.partition(",")[2])


def _spec(rate: int) -> MelSpec:
    """A mel spec for any sample rate, with windows of 46 to 92 ms."""
    n_fft = 2 ** ceil(log2(0.046 * rate))
    return MelSpec(rate, n_fft, n_fft // 4, n_fft, f_max=rate / 2, **_MEL)


def _rounded(value: float) -> float | None:
    return round(value, 3) if isfinite(value) else None
