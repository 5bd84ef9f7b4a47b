"""Features of a set of clips, extracted one clip at a time: the clips are not kept in memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from audiodiff.audio.loudness import lufs
from audiodiff.metrics import timbre
from audiodiff.metrics.rhythm import beat

_MIN_LUFS = -70.0


@dataclass(frozen=True)
class ClipFeatures:
    """Features of the N clips that are neither silent nor have NaN or infinite samples.

    Attributes:
        embeddings: (N, D), `metrics.timbre`.
        crest_db: (N,) crest factor, peak above the average power.
        loudness: (N,) LUFS at peak level 1.
        tempo: (N,) BPM (`metrics.rhythm`), NaN where undefined.
        pulse_clarity: (N,) 0 to 1.
        indices: (N,) index of each clip among all clips.
        silent: number of silent clips.
        not_finite: number of clips with NaN or infinite samples.
    """

    embeddings: np.ndarray
    crest_db: np.ndarray
    loudness: np.ndarray
    tempo: np.ndarray
    pulse_clarity: np.ndarray
    indices: np.ndarray
    silent: int
    not_finite: int

    @classmethod
    def extract(cls, clips: Iterable[np.ndarray], sample_rate: int) -> Self:
        """Extract the features of clips (C, T)."""
        rows, silent, not_finite = [], 0, 0
        for index, clip in enumerate(clips):
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
            rows.append((embedding, crest, loudness, *rhythm, index))
        columns = zip(*rows, strict=True) if rows else [()] * 6
        return cls(*map(np.array, columns), silent, not_finite)

    def __len__(self) -> int:
        """N."""
        return len(self.embeddings)


def _loudness(clip: np.ndarray, sample_rate: int) -> float:
    """LUFS of a clip (C, T), mixed to mono and padded to at least half a second."""
    mono = torch.from_numpy(clip.mean(0))
    mono = torch.nn.functional.pad(mono, (0, max(sample_rate // 2 - len(mono), 0)))
    return max(float(lufs(mono, sample_rate)), _MIN_LUFS)
