"""Benchmark of a vocoder: quality and speed over samplers and steps, on one or several sets of clips.

Rows are computed one after another: all clips are synthesized, one at a time and while nothing else runs, so that the
speed is measured; then they are scored in parallel; then the record is written. What the record has is not computed
again. A sampler that stands for another ("recommended" in two steps is ddim) takes that one's results.

The network's rows are what `Vocoder.generate` gives by default, mel consistency included if the model has it. Scores
are of clips synthesized on the CPU; a GPU is timed.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import SPLITS, HeldOut, choose, clip_list_hash
from audiodiff.evaluation.language import language
from audiodiff.evaluation.record import Block, Record, Row, Speed
from audiodiff.evaluation.scoring import MetricPool, Pair
from audiodiff.evaluation.systems import System, ground_truth, synthesize, without_network
from audiodiff.evaluation.vocoder_evaluation import describe_model
from audiodiff.metrics import METRICS, require_all, transcript
from audiodiff.pipelines.vocoder import Vocoder

SAMPLERS = ("ddim", "dpmpp_2m")  # besides the model's own
STEPS = (1, 2, 4, 6, 10, 20, 50)


@dataclass(frozen=True)
class Settings:
    """What is benchmarked, and what decides the numbers besides model and data.

    Attributes:
        samplers: names; none: the model's own and `SAMPLERS`.
        steps: numbers of network evaluations per clip.
        metrics: names, keys of `METRICS`.
        seed: the noise of clip `id` is that of `clip_seed(seed, id)`, in every system that starts from noise.
        splits: of the manifests.
        limit: maximum number of clips per manifest, drawn by a hash of their ids; None: all.
        language: of clips whose corpus does not state it, as ISO 639-1; "" for unknown.
    """

    samplers: tuple[str, ...] = ()
    steps: tuple[int, ...] = STEPS
    metrics: tuple[str, ...] = tuple(METRICS)
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    language: str = ""

    def resolve(self, vocoder: Vocoder) -> "Settings":
        """These settings with the model's samplers filled in and duplicates removed.

        Raises:
            UserError: an unknown metric, fewer than one step, a sampler that is unknown, that this model does not
                support, or that needs more steps than any of these.
        """
        for name in self.metrics:
            if name not in METRICS:
                raise UserError(f"metric {name!r}", "is unknown", f"choose from {', '.join(METRICS)}")
        if min(self.steps, default=0) < 1:
            raise UserError("steps", "must be 1 or more", "give some, such as --steps 4,6,10")
        samplers = tuple(dict.fromkeys(self.samplers or (vocoder.model.sampler, *SAMPLERS)))
        for name in samplers:
            vocoder.model.sampler_for(max(self.steps), name)
        metrics = tuple(name for name in METRICS if name in self.metrics)
        return replace(self, samplers=samplers, steps=tuple(sorted(set(self.steps))), metrics=metrics)


def sweep(
    vocoder: Vocoder,
    on_gpu: Vocoder | None,
    data: dict[str, Manifest],
    settings: Settings,
    path: Path,
    workers: int | None = None,
    quiet: bool = False,
) -> Record:
    """Compute what the record at `path` lacks.

    Args:
        vocoder: the model to benchmark, on the CPU.
        on_gpu: the same model on a GPU, to be timed; None if there is none.
        data: manifests by the name of their block.
        settings: what is benchmarked.
        path: of the record, a JSON file.
        workers: processes that score; None: one per core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips, a clip that cannot be read, bad settings.
    """
    settings = settings.resolve(vocoder)
    require_all(settings.metrics)
    record = Record.load(path, describe_model(vocoder))
    record.environment = environment.describe() | {"gpu": on_gpu and environment.describe(on_gpu.device)["device"]}
    chosen = {name: choose(manifest, settings.splits, settings.limit)[0] for name, manifest in data.items()}
    with MetricPool(workers) as pool:
        for name, clips in chosen.items():
            texts = [_text(clip, settings) for clip in clips]
            block = record.block(_block(name, clips, texts, settings))
            block.date = record.environment["date"]
            held_out = HeldOut.load(vocoder, data[name], clips, settings.seed, texts)
            rows = list(_systems(vocoder, on_gpu, settings))
            for key, new, cpu, gpu in tqdm(rows, desc=name, unit="row", disable=quiet):
                row = block.rows.setdefault(key, new)
                _copy_equivalent(row, block)
                _complete(row, block, held_out, cpu, settings.metrics, pool)
                if gpu and "cuda" not in row.speed:
                    _, work = _synthesize(gpu, held_out)
                    row.speed["cuda"] = Speed.of(work, held_out.seconds, record.environment["gpu"])
                record.save(path)
    return record


def _systems(
    vocoder: Vocoder, on_gpu: Vocoder | None, settings: Settings
) -> Iterator[tuple[str, Row, System, System | None]]:
    """(key, empty row, system, the same on the GPU) in the order of the table; impossible pairs are left out."""
    for system in (ground_truth(), *without_network(vocoder)):
        yield system.name, Row(system.label, system.note), system, None
    for sampler in settings.samplers:
        for steps in settings.steps:
            if steps >= presets.PRESETS[sampler].min_nfe:
                row = Row(sampler, f"The network, {steps} steps of {sampler}.", sampler, steps)
                cpu = _network(vocoder, sampler, steps)
                yield f"{sampler}/{steps}", row, cpu, on_gpu and _network(on_gpu, sampler, steps)


def _network(vocoder: Vocoder, sampler: str, steps: int) -> System:
    def generate(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of steps it was not validated with
            return vocoder.generate(mel, steps, clip_seeds=[seed], sampler=sampler).samples

    return System(f"{sampler}/{steps}", sampler, "", generate)


def _copy_equivalent(row: Row, block: Block) -> None:
    """Copy the results of a row that is the same by another name."""
    for other in block.rows.values():
        if row.steps and other.steps == row.steps and _resolved(other) == _resolved(row):
            row.scores, row.speed = other.scores | row.scores, other.speed | row.speed


def _resolved(row: Row) -> str:
    return presets.chosen(row.sampler, row.steps)


def _complete(
    row: Row, block: Block, held_out: HeldOut, system: System, metrics: Sequence[str], pool: MetricPool
) -> None:
    """Compute what the row lacks of these metrics and of the speed on the CPU."""
    metrics = [name for name in metrics if name not in row.scores]
    untimed = system.timed and "cpu" not in row.speed
    if not (metrics or untimed):
        return
    waveforms, work = _synthesize(system, held_out)
    if untimed:
        row.speed["cpu"] = Speed.of(work, held_out.seconds, environment.processor(), torch.get_num_threads())
    clips = zip(held_out.recordings, waveforms, held_out.texts, strict=True)
    pairs = [Pair(x.numpy(), {system.name: made}, held_out.sample_rate, text) for x, made, text in clips]
    scored = list(pool(pairs, metrics)) if metrics else []
    for name in metrics:
        row.scores[name] = np.array([found.scores[system.name][name] for found in scored])
        block.weights[name] = np.array([found.weights[name] for found in scored])


def _synthesize(system: System, held_out: HeldOut) -> tuple[list[np.ndarray], np.ndarray]:
    return synthesize(system, held_out.recordings, held_out.mels, held_out.seeds)


def _text(clip: Clip, settings: Settings) -> str | None:
    return clip.text if language(clip, settings.language) == transcript.LANGUAGE else None


def _block(name: str, clips: list[Clip], texts: list[str | None], settings: Settings) -> Block:
    lines = [json.dumps([asdict(clip), text], sort_keys=True) for clip, text in zip(clips, texts, strict=True)]
    return Block(
        name=name,
        seed=settings.seed,
        clips=[clip.id for clip in clips],
        clip_list_sha256=clip_list_hash(clips),
        seconds=sum(clip.seconds for clip in clips),
        splits=list(settings.splits),
        clips_sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        words={"text": sum(map(bool, texts)), "recording": texts.count(""), "none": texts.count(None)},
    )
