"""Evaluation of a vocoder: held-out clips are synthesized by every system, then scored.

Synthesis comes first, one clip at a time, so that its speed is measured while nothing is scored: seconds of audio per
second of work, over all clips together; the mel is given, mel consistency is included. Scoring follows, in parallel.
What is scored is what a file would hold: the recording's length, clipped at full scale.
"""

import time
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import SPLITS, HeldOut, choose, clip_list_hash
from audiodiff.evaluation.record import Block, Row, Speed
from audiodiff.evaluation.scoring import Pair, score_all
from audiodiff.evaluation.systems import synthesize, systems
from audiodiff.metrics import REPORT_METRICS, require_all
from audiodiff.pipelines.vocoder import Vocoder


@dataclass(frozen=True)
class Settings:
    """What decides the numbers, besides model and data.

    Attributes:
        steps: network evaluations per clip.
        sampler: name, or None for the model's own.
        seed: the noise of clip `id` is that of `clip_seed(seed, id)`, in every system that starts from noise.
        splits: of the manifest.
        limit: maximum number of clips, drawn by a hash of their ids; None: all.
        baselines: whether systems without training are evaluated as well.
    """

    steps: int = 6
    sampler: str | None = None
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    baselines: bool = True


@dataclass(frozen=True)
class Evaluation:
    """Results: scores and speeds of every row in `block`, its waveforms (T,) clip by clip, and how they came about."""

    settings: Settings
    clips: list[Clip]
    left_out: int
    block: Block
    waveforms: dict[str, list[np.ndarray]]
    manifest_hash: str
    sample_rate: int
    environment: dict
    model: dict
    metric_seconds: dict[str, float]
    seconds: dict[str, float]


def evaluate(
    vocoder: Vocoder,
    untrained: Vocoder | None,
    manifest: Manifest,
    settings: Settings,
    workers: int | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Synthesize and score.

    Args:
        vocoder: the model to evaluate.
        untrained: the same model with fresh weights, or None.
        manifest: where the held-out clips are.
        settings: what decides the numbers.
        workers: processes that score; None: one per core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips, a clip that cannot be read, an unknown sampler.
    """
    require_all()
    clips, left_out = choose(manifest, settings.splits, settings.limit)
    start = time.perf_counter()
    held_out = HeldOut.load(vocoder, manifest, clips, settings.seed)
    chosen = systems(vocoder, untrained, settings.steps, settings.sampler, settings.baselines)
    waveforms, work = {}, {}
    with tqdm(total=len(chosen) * len(clips), desc="synthesizing", unit="clip", disable=quiet) as bar:
        for one in chosen:
            waveforms[one.name], work[one.name] = synthesize(
                one, held_out.recordings, held_out.mels, held_out.seeds, bar.update
            )
    scoring = time.perf_counter()
    pairs = [
        Pair(recording.numpy(), {name: made[i] for name, made in waveforms.items()}, held_out.sample_rate)
        for i, recording in enumerate(held_out.recordings)
    ]
    scored = list(tqdm(score_all(pairs, workers), total=len(pairs), desc="scoring", unit="clip", disable=quiet))
    end = time.perf_counter()
    rows = {}
    for one in chosen:
        scores = {name: np.array([found.scores[one.name][name] for found in scored]) for name in REPORT_METRICS}
        speed = {"cpu": Speed.of(work[one.name], held_out.seconds, str(vocoder.device))} if one.timed else {}
        rows[one.name] = Row(one.label, one.note, scores=scores, speed=speed)
    estimates = len(clips) * len(chosen)
    block = Block(
        name="held-out clips",
        seed=settings.seed,
        clips=[clip.id for clip in clips],
        clip_list_sha256=clip_list_hash(clips),
        seconds=sum(clip.seconds for clip in clips),
        splits=list(settings.splits),
        rows=rows,
    )
    return Evaluation(
        settings=settings,
        clips=clips,
        left_out=left_out,
        block=block,
        waveforms=waveforms,
        manifest_hash=manifest.content_hash(),
        sample_rate=held_out.sample_rate,
        environment=environment.describe(vocoder.device),
        model=_describe(vocoder, settings),
        metric_seconds={name: sum(found.seconds[name] for found in scored) / estimates for name in REPORT_METRICS},
        seconds={"synthesis": scoring - start, "scoring": end - scoring},
    )


def _describe(vocoder: Vocoder, settings: Settings) -> dict:
    stored = vocoder.model.stored_grid(settings.steps, settings.sampler)
    return describe_model(vocoder) | {
        "sampler": settings.sampler or vocoder.model.sampler,
        "steps": settings.steps,
        "grid": stored and stored.times,
        "training": vocoder.training,
    }


def describe_model(vocoder: Vocoder) -> dict:
    """What a report says of its model."""
    return {
        "hash": vocoder.model_hash,
        "parameters": sum(parameter.numel() for parameter in vocoder.model.parameters()),
        "sampler": vocoder.model.sampler,
        "consistency": vocoder.model.consistency,
        "validated": vocoder.model.validated,
        "mel_spec": vocoder.spec.to_dict(),
    }
