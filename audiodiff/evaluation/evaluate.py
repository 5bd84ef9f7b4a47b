"""The evaluation itself: choose held-out clips, synthesize them with every system, metric, and count.

Synthesis comes first and alone, one clip at a time, so that its speed is measured while nothing is scored: seconds of
audio per second of work, over all clips together; the mel is given, mel consistency is included. Scoring follows, in
parallel. What is scored is what a file would hold: the recording's length, clipped at full scale.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.scoring import Pair, Scores, score_all
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.evaluation.systems import System, systems
from audiodiff.metrics import REPORT_METRICS, require_all
from audiodiff.pipelines.vocoder import Vocoder

MIN_SECONDS = 0.5
ENOUGH_CLIPS = 50


@dataclass(frozen=True)
class Settings:
    """What decides the numbers, besides model and data.

    Attributes:
        steps: network calls a clip.
        sampler: name, or None for the model's own.
        seed: clip `id` is made from the noise of `clip_seed(seed, id)`, in every system that starts from noise.
        splits: of the manifest.
        limit: at most so many clips, drawn by a hash of their ids: fewer are a part of more. None: all.
        baselines: whether systems without training stand beside the network.
    """

    steps: int = 6
    sampler: str | None = None
    seed: int = 0
    splits: tuple[str, ...] = ("validation", "test")
    limit: int | None = None
    baselines: bool = True


@dataclass(frozen=True)
class Row:
    """A system's results: scores[metric] (clips,), NaN where undefined; speed, seconds of audio a second, or None."""

    system: System
    scores: dict[str, np.ndarray]
    waveforms: list[np.ndarray]
    speed: float | None

    def interval(self, metric: str) -> Interval:
        """Mean over clips with its bootstrap interval."""
        return bootstrap(self.scores[metric])

    def gain(self, other: "Row", metric: str) -> Interval:
        """Mean of this row's score minus the other's, clip by clip, with its interval."""
        return bootstrap(self.scores[metric] - other.scores[metric])


@dataclass(frozen=True)
class Evaluation:
    """All that a report is made of."""

    settings: Settings
    clips: list[Clip]
    left_out: int
    clip_list_hash: str
    manifest_hash: str
    sample_rate: int
    rows: dict[str, Row]
    environment: dict
    model: dict
    metric_seconds: dict[str, float]
    seconds: dict[str, float]


def choose(manifest: Manifest, settings: Settings) -> tuple[list[Clip], int]:
    """Clips to metric, in the order of their ids, and how many of the splits were too short to metric.

    Raises:
        UserError: no clip is left, or the limit is below 1.
    """
    check_limit(settings.limit)
    held_out = manifest.with_splits(*settings.splits).clips
    clips = [clip for clip in held_out if clip.seconds >= MIN_SECONDS]
    if not clips:
        problem = f"has no clip of at least {MIN_SECONDS} s in {' or '.join(settings.splits)}"
        raise UserError(manifest.root, problem, "prepare more recordings or name another split")
    drawn = sorted(clips, key=lambda clip: clip_seed(0, clip.id))[: settings.limit]
    return sorted(drawn, key=lambda clip: clip.id), len(held_out) - len(clips)


def check_limit(limit: int | None) -> None:
    """Raise UserError if at most so many clips are none."""
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}", "is below 1", "leave it out for all clips")


def clip_list_hash(clips: list[Clip]) -> str:
    """SHA-256 of the ids, one a line, sorted: equal for reports on the same clips."""
    return hashlib.sha256("\n".join(sorted(clip.id for clip in clips)).encode()).hexdigest()


def evaluate(
    vocoder: Vocoder,
    untrained: Vocoder | None,
    manifest: Manifest,
    settings: Settings,
    workers: int | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Synthesize and metric.

    Args:
        vocoder: under judgement.
        untrained: the same model with fresh weights, or None.
        manifest: where the held-out clips are.
        settings: what decides the numbers.
        workers: processes that metric; None: one a core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips, a clip that cannot be read, an unknown sampler.
    """
    require_all()
    clips, left_out = choose(manifest, settings)
    rate = vocoder.sample_rate
    start = time.perf_counter()
    recordings = [io.read(manifest.path(clip), rate).samples.clamp(-1, 1) for clip in clips]
    mels = [vocoder.mel(io.Audio(samples, rate)) for samples in recordings]
    seeds = [clip_seed(settings.seed, clip.id) for clip in clips]
    chosen = systems(vocoder, untrained, settings.steps, settings.sampler, settings.baselines)
    with tqdm(total=len(chosen) * len(clips), desc="synthesizing", unit="clip", disable=quiet) as bar:
        made = {one.name: synthesize(one, recordings, mels, seeds, bar.update) for one in chosen}
    scoring = time.perf_counter()
    versions = [{name: waveforms[i] for name, (waveforms, _) in made.items()} for i in range(len(clips))]
    pairs = [Pair(x.numpy(), estimates, rate) for x, estimates in zip(recordings, versions, strict=True)]
    scored = list(tqdm(score_all(pairs, workers), total=len(pairs), desc="scoring", unit="clip", disable=quiet))
    end = time.perf_counter()
    audio_seconds, scored = sum(map(len, recordings)) / rate, len(clips) * len(chosen)
    return Evaluation(
        settings,
        clips,
        left_out,
        clip_list_hash(clips),
        manifest.content_hash(),
        rate,
        {one.name: _row(one, *made[one.name], scored, audio_seconds) for one in chosen},
        environment.describe(vocoder.device),
        _describe(vocoder, settings),
        {name: sum(verdict.seconds[name] for verdict in scored) / scored for name in REPORT_METRICS},
        {"synthesis": scoring - start, "scoring": end - scoring},
    )


def synthesize(
    system: System,
    recordings: list[Tensor],
    mels: list[Tensor],
    seeds: list[int],
    tick: Callable[[], object] = lambda: None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """All clips by one system, each (T,) as long as its recording, and the seconds each took (clips,)."""
    system.synthesize(recordings[0], mels[0], seeds[0])  # warm: memory, plans of transforms, kernels
    waveforms, seconds = [], []
    for recording, mel, seed in zip(recordings, mels, seeds, strict=True):
        start = time.perf_counter()
        waveform = system.synthesize(recording, mel, seed)
        seconds.append(time.perf_counter() - start)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, len(recording) - len(waveform))))
        waveforms.append(waveform[: len(recording)].clamp(-1, 1).numpy())
        tick()
    return waveforms, np.array(seconds)


def _row(
    system: System, waveforms: list[np.ndarray], spent: np.ndarray, scored: list[Scores], audio_seconds: float
) -> Row:
    scores = {name: np.array([verdict.scores[system.name][name] for verdict in scored]) for name in REPORT_METRICS}
    return Row(system, scores, waveforms, audio_seconds / spent.sum() if system.timed else None)


def _describe(vocoder: Vocoder, settings: Settings) -> dict:
    stored = vocoder.model.stored_grid(settings.steps, settings.sampler)
    return {
        "hash": vocoder.model_hash,
        "parameters": sum(parameter.numel() for parameter in vocoder.model.parameters()),
        "sampler": settings.sampler or vocoder.model.sampler,
        "steps": settings.steps,
        "grid": stored and stored.times,
        "validated": vocoder.model.validated,
        "consistency": vocoder.model.consistency,
        "mel_spec": vocoder.spec.to_dict(),
        "training": vocoder.training,
    }
