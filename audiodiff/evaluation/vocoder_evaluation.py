"""Evaluation of a vocoder: every system resynthesizes the held-out clips, then all metrics score them.

Clips are synthesized first, one at a time, so that speed is measured while nothing else runs: seconds of audio per
second of work over all clips, from the mel, with mel consistency. They are then scored in parallel, as they would be
written to a file: with the length of the recording, clipped at full scale.
"""

import hashlib
import json
import time
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import HeldOut, Settings, choose, clip_list_hash
from audiodiff.evaluation.record import Block, Row, Speed
from audiodiff.evaluation.scoring import Pair, score_all
from audiodiff.evaluation.systems import synthesize, systems
from audiodiff.metrics import REPORT_METRICS, require_all
from audiodiff.models.checkpoint import describe
from audiodiff.pipelines.vocoder import Vocoder


@dataclass(frozen=True)
class Evaluation:
    """Results: scores and speeds in `block`, waveforms (T,) by system and clip, and how they were computed."""

    settings: Settings
    clips: list[Clip]
    too_short: int
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
        untrained: the same model with random weights, or None.
        manifest: corpus with the held-out clips.
        settings: settings of the evaluation.
        workers: processes that score; None: one per core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips, a clip that cannot be read, an unknown sampler.
    """
    require_all()
    steps = vocoder.model.default_steps if settings.steps is None else settings.steps
    settings = replace(settings, steps=steps, seed=settings.seed or 0)
    clips, too_short = choose(manifest, settings.splits, settings.limit)
    start = time.perf_counter()
    held_out = HeldOut.load(vocoder, manifest, clips, settings.seed)
    chosen = systems(vocoder, untrained, settings.steps, settings.sampler, settings.baselines)
    waveforms, work = {}, {}
    with tqdm(total=len(chosen) * len(clips), desc="synthesizing", unit="clip", disable=quiet) as bar:
        for system in chosen:
            waveforms[system.name], work[system.name] = synthesize(system, held_out.inputs, bar.update)
    scoring = time.perf_counter()
    pairs = [
        Pair(recording.numpy(), {name: outputs[i] for name, outputs in waveforms.items()}, held_out.sample_rate)
        for i, recording in enumerate(held_out.recordings)
    ]
    scored = list(tqdm(score_all(pairs, workers), total=len(pairs), desc="scoring", unit="clip", disable=quiet))
    end = time.perf_counter()
    block = Block(
        name="held-out clips",
        seed=settings.seed,
        clips=[clip.id for clip in clips],
        clip_list_sha256=clip_list_hash(clips),
        seconds=sum(clip.seconds for clip in clips),
        splits=list(settings.splits),
    )
    for system in chosen:
        scores = {name: np.array([one.scores[system.name][name] for one in scored]) for name in REPORT_METRICS}
        speed = Speed.of(work[system.name], held_out.seconds, str(vocoder.device))
        speeds = {vocoder.device.type: speed} if system.timed else {}
        block.rows[system.name] = Row(system.label, system.note, scores=scores, speed=speeds)
    estimates = len(clips) * len(chosen)
    return Evaluation(
        settings=settings,
        clips=clips,
        too_short=too_short,
        block=block,
        waveforms=waveforms,
        manifest_hash=manifest.content_hash(),
        sample_rate=held_out.sample_rate,
        environment=environment.describe(vocoder.device),
        model=_describe(vocoder, settings),
        metric_seconds={name: sum(one.seconds[name] for one in scored) / estimates for name in REPORT_METRICS},
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


def _samples_hash(vocoder: Vocoder) -> str:
    """SHA-256 of what decides the audio of given options: weights and arguments, without what they only state."""
    model, stated = vocoder.model, ("settings", "validated", "distillation")
    arguments = {name: value for name, value in model.arguments().items() if name not in stated}
    digest = hashlib.sha256(json.dumps({name: describe(value) for name, value in arguments.items()}).encode())
    for weight in (*model.network.state_dict().values(), *model.part_weights().values()):
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()


def describe_model(vocoder: Vocoder) -> dict:
    """Describe the model of a vocoder for reports."""
    return {
        "hash": vocoder.model_hash,
        "samples_hash": _samples_hash(vocoder),
        "parameters": sum(parameter.numel() for parameter in vocoder.model.parameters()),
        "sampler": vocoder.model.sampler,
        "consistency": vocoder.model.consistency,
        "validated": vocoder.model.validated,
        "mel_spec": vocoder.spec.to_dict(),
    }
