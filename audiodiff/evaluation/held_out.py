"""Settings of an evaluation, and the held-out clips that it scores."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.pipelines.vocoder import Vocoder

MIN_SECONDS = 0.5
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Settings:
    """Everything that determines the results of an evaluation, besides model and data.

    Attributes:
        steps: denoising steps per clip; None: the model's own.
        sampler: name; None: the model's own.
        seed: random seed; None: 0. The noise of clip `id` is that of `clip_seed(seed, id)`, in every system.
        limit: maximum number of clips, chosen by a hash of their ids (None: all); for a generator, the number of clips
            to generate.
        splits: held-out splits of the manifest.
        baselines: whether to evaluate systems that need no training as well.
        embedding: audio-text model that scores prompts, of a generator that takes them; empty: the shipped one.
        guidance_scales: of such a generator, besides its own guidance.
    """

    steps: int | None = None
    sampler: str | None = None
    seed: int | None = None
    limit: int | None = None
    splits: tuple[str, ...] = SPLITS
    baselines: bool = True
    embedding: str = ""
    guidance_scales: tuple[float, ...] = ()


def choose(manifest: Manifest, splits: Sequence[str] = SPLITS, limit: int | None = None) -> tuple[list[Clip], int]:
    """Choose the clips to score, in the order of their ids, and count the clips that are too short.

    With a limit, clips are chosen by a hash of their ids: a smaller limit gives a subset.

    Raises:
        UserError: no clip is left, or the limit is below 1.
    """
    check_limit(limit)
    held_out = manifest.with_splits(*splits).clips
    clips = [clip for clip in held_out if clip.seconds >= MIN_SECONDS]
    if not clips:
        problem = f"has no clip of at least {MIN_SECONDS} s in {' or '.join(splits)}"
        raise UserError(manifest.root, problem, "prepare more recordings or choose another --split")
    chosen = sorted(clips, key=lambda clip: clip_seed(0, clip.id))[:limit]
    return sorted(chosen, key=lambda clip: clip.id), len(held_out) - len(clips)


def of_labels(manifest: Manifest, labels: Sequence[str]) -> Manifest:
    """The clips that a generator of these labels is compared with: with one of them, or else without any.

    A model that is conditioned on labels may have been trained on recordings without labels as well.
    """
    found = manifest.with_labels(*labels)
    return found if found.clips else replace(manifest, clips=tuple(clip for clip in manifest.clips if not clip.labels))


def check_limit(limit: int | None) -> None:
    """Raise `UserError` if the maximum number of clips is below 1; None means no maximum."""
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}", "must be 1 or more", "leave it out for all clips")


def clip_list_hash(clips: Iterable[Clip]) -> str:
    """SHA-256 of the sorted ids, one per line: equal for reports on the same clips."""
    return hashlib.sha256("\n".join(sorted(clip.id for clip in clips)).encode()).hexdigest()


def content_hash(clips: Iterable[list]) -> str:
    """SHA-256 of what is known of each clip, one line of JSON each, in their order."""
    return hashlib.sha256("\n".join(json.dumps(clip, sort_keys=True) for clip in clips).encode()).hexdigest()


@dataclass(frozen=True)
class HeldOut:
    """Loaded clips.

    Attributes:
        recordings: (T,) each, at `sample_rate`, in [-1, 1].
        mels: (M, F) each.
        seeds: noise seed of each clip.
        texts: the text of an English clip ("" if unknown); None for other or unknown languages.
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
        """Load recordings at the vocoder's sample rate and compute their mels.

        Raises:
            UserError: a clip cannot be read.
        """
        rate = vocoder.sample_rate
        recordings = [io.read(manifest.path(clip), rate).samples.clamp(-1, 1) for clip in clips]
        mels = [vocoder.mel(io.Audio(samples, rate)) for samples in recordings]
        seeds = [clip_seed(seed, clip.id) for clip in clips]
        return cls(recordings, mels, seeds, list(texts or [None] * len(clips)), rate)

    @property
    def inputs(self) -> list[tuple[Tensor, Tensor, int]]:
        """Inputs of a system: recording, mel and seed of each clip."""
        return list(zip(self.recordings, self.mels, self.seeds, strict=True))

    @property
    def seconds(self) -> np.ndarray:
        """Duration of each clip in seconds, (clips,)."""
        return np.array([len(recording) / self.sample_rate for recording in self.recordings])
