"""`Noises`: recordings in memory, of which stretches are noise or the babble of several voices."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiodiff.data.dataset import read_crop
from audiodiff.data.licenses import license_terms
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.ranges import PositiveFloat

_SILENCE = 1e-4  # of full scale: clips that are quieter are left out


class Noises:
    """Clips of prepared data, one after the other at the same power.

    Clips of the given splits are taken in an order that is the same in every process, up to a total length. With
    `permissive` those whose license asks for more than attribution are left out.

    Args:
        data: folders of prepared data.
        sample_rate: Hz.
        splits: whose clips are taken.
        minutes: longest total.
        permissive: leave clips of restricted licenses out.

    Raises:
        UserError: a folder without a manifest, a clip that cannot be read, or no clip is left.
    """

    def __init__(
        self,
        data: Sequence[str | Path],
        sample_rate: int,
        splits: Sequence[str] = ("train",),
        minutes: PositiveFloat = 20.0,
        permissive: bool = False,
    ):
        candidates = [
            (manifest, clip)
            for manifest in map(Manifest.load, data)
            for clip in manifest.with_splits(*splits).clips
            if not (permissive and license_terms(clip.license).restricted)
        ]
        pieces, left = [], 60 * minutes
        for number in np.random.default_rng(0).permutation(len(candidates)):
            manifest, clip = candidates[number]
            if left <= 0:
                break
            samples = ceil(min(clip.seconds, left) * sample_rate)
            waveform = read_crop(manifest, clip, sample_rate, 0, samples)
            power = float(waveform.square().mean().sqrt())
            if power > _SILENCE:
                pieces.append(waveform / power)
                left -= clip.seconds
        if not pieces:
            subject = ", ".join(map(str, data)) or "noises"
            raise UserError(subject, "holds no clip that can be noise", "prepare other data")
        self.samples = torch.cat(pieces)

    def stretch(self, place: float, samples: int) -> Tensor:
        """The (samples,) from a place in [0, 1) on; behind the end it begins again."""
        start = int(place * len(self.samples))
        return self.samples[torch.arange(start, start + samples) % len(self.samples)]

    def babble(self, places: Tensor, samples: int) -> Tensor:
        """The sum (samples,) of stretches at several places (N,)."""
        return torch.stack([self.stretch(float(place), samples) for place in places]).sum(0)
