"""What is heard of a body of clips, one clip after the other: none is kept, so there may be as many as there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from audiodiff.audio.loudness import lufs
from audiodiff.metrics import timbre
from audiodiff.metrics.rhythm import beat

_FAINTEST = -70.0  # LUFS


@dataclass(frozen=True)
class Body:
    """Of each of N clips that are neither silent nor not finite.

    Attributes:
        embeddings: (N, D), of `metrics.timbre`.
        crest_db: (N,) peak above the average power.
        loudness: (N,) LUFS of the clip at full scale.
        tempo: (N,) beats a minute (`metrics.rhythm`), NaN of clips that have none.
        regular: (N,) how regular they are.
        numbers: (N,) which they were, counted from 0 with all others.
        silent: how many of those there were.
        not_finite: how many had samples that are not finite.
    """

    embeddings: np.ndarray
    crest_db: np.ndarray
    loudness: np.ndarray
    tempo: np.ndarray
    regular: np.ndarray
    numbers: np.ndarray
    silent: int
    not_finite: int

    @classmethod
    def heard(cls, clips: Iterable[np.ndarray], sample_rate: int) -> Self:
        """Of clips (C, T)."""
        rows, silent, not_finite = [], 0, 0
        for number, clip in enumerate(clips):
            if not np.isfinite(clip).all():
                not_finite += 1
                continue
            try:
                embedding = timbre.embedding(clip, sample_rate)
            except ValueError:
                silent += 1
                continue
            peak = np.abs(clip).max()
            crest = 20 * np.log10(peak / np.sqrt(np.square(clip).mean()))
            loudness, rhythm = _loudness(clip / peak, sample_rate), beat(clip / peak, sample_rate)
            rows.append((embedding, crest, loudness, *rhythm, number))
        columns = zip(*rows, strict=True) if rows else [()] * 6
        return cls(*map(np.array, columns), silent, not_finite)

    def __len__(self) -> int:
        """N."""
        return len(self.embeddings)


def _loudness(clip: np.ndarray, sample_rate: int) -> float:
    """LUFS of a clip (C, T), channels mixed; of one shorter than half a second with silence behind."""
    mono = torch.from_numpy(clip.mean(0))
    mono = torch.nn.functional.pad(mono, (0, max(sample_rate // 2 - len(mono), 0)))
    return max(float(lufs(mono, sample_rate)), _FAINTEST)
