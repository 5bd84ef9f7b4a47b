"""Held-out clips: which clips of a manifest are scored, and what every system gets of them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.pipelines.vocoder import Vocoder

MIN_SECONDS = 0.5
SPLITS = ("validation", "test")


def choose(manifest: Manifest, splits: Sequence[str] = SPLITS, limit: int | None = None) -> tuple[list[Clip], int]:
    """Clips to score, in the order of their ids, and how many of the splits are too short to be scored.

    With a limit, clips are drawn by a hash of their ids: fewer clips are a subset of more.

    Raises:
        UserError: no clip is left, or the limit is below 1.
    """
    check_limit(limit)
    held_out = manifest.with_splits(*splits).clips
    clips = [clip for clip in held_out if clip.seconds >= MIN_SECONDS]
    if not clips:
        problem = f"has no clip of at least {MIN_SECONDS} s in {' or '.join(splits)}"
        raise UserError(manifest.root, problem, "prepare more recordings or choose another --split")
    drawn = sorted(clips, key=lambda clip: clip_seed(0, clip.id))[:limit]
    return sorted(drawn, key=lambda clip: clip.id), len(held_out) - len(clips)


def check_limit(limit: int | None) -> None:
    """Raise `UserError` for a maximum number of clips below 1; None is no maximum."""
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}", "is below 1", "leave it out for all clips")


def clip_list_hash(clips: Iterable[Clip]) -> str:
    """SHA-256 of the sorted ids, one a line: equal for reports on the same clips."""
    return hashlib.sha256("\n".join(sorted(clip.id for clip in clips)).encode()).hexdigest()


@dataclass(frozen=True)
class HeldOut:
    """Loaded clips.

    Attributes:
        recordings: (T,) each, at `sample_rate`, in [-1, 1].
        mels: (M, F) each.
        seeds: of the noise, one per clip.
        texts: what is said if it is English, "" if it is English of unknown text, None if it may not be English.
        sample_rate: Hz.
    """

    recordings: list[Tensor]
    mels: list[Tensor]
    seeds: list[int]
    texts: list[str | None]
    sample_rate: int

    @classmethod
    def load(
        cls,
        vocoder: Vocoder,
        manifest: Manifest,
        clips: Sequence[Clip],
        seed: int,
        texts: Sequence[str | None] | None = None,
    ) -> "HeldOut":
        """Recordings at the vocoder's rate and their mels; the noise of clip `id` is that of `clip_seed(seed, id)`.

        Raises:
            UserError: a clip cannot be read.
        """
        rate = vocoder.sample_rate
        recordings = [io.read(manifest.path(clip), rate).samples.clamp(-1, 1) for clip in clips]
        mels = [vocoder.mel(io.Audio(samples, rate)) for samples in recordings]
        seeds = [clip_seed(seed, clip.id) for clip in clips]
        return cls(recordings, mels, seeds, list(texts or [None] * len(clips)), rate)

    @property
    def seconds(self) -> np.ndarray:
        """Seconds of audio, (clips,)."""
        return np.array([len(recording) / self.sample_rate for recording in self.recordings])
