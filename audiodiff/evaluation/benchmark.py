"""Benchmark of a vocoder: quality and speed over samplers and steps, on one or several sets of clips.

Rows are computed one after another: all clips are synthesized, one at a time while nothing else runs, to measure the
speed; then they are scored in parallel; then the record is written. Results in the record are not computed again. A
sampler that resolves to another one ("recommended" at two steps is ddim) gets a copy of its results.

Rows of the network use the defaults of `Vocoder.generate`, including the model's mel consistency. Scores are of clips
synthesized on the CPU; a GPU is only timed.
"""

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
from audiodiff.evaluation.held_out import SPLITS, HeldOut, choose, clip_list_hash, content_hash
from audiodiff.evaluation.language import language
from audiodiff.evaluation.record import Block, Record, Row, Speed
from audiodiff.evaluation.scoring import MetricPool, Pair
from audiodiff.evaluation.systems import System, ground_truth, synthesize, without_network
from audiodiff.evaluation.vocoder_evaluation import describe_model
from audiodiff.metrics import METRICS, require_all, transcript
from audiodiff.pipelines.vocoder import Vocoder

SAMPLERS = ("ddim", "dpmpp_2m")  # in addition to the model's own
STEPS = (1, 2, 4, 6, 10, 20, 50)


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
        samplers: names; empty: the model's own and `SAMPLERS`.
        steps: numbers of denoising steps.
        metrics: names, keys of `METRICS`.
        seed: random seed; the noise of clip `id` is that of `clip_seed(seed, id)`, in every system.
        splits: held-out splits of the manifests.
        limit: maximum number of clips per manifest, chosen by a hash of their ids; None: all.
        language: ISO 639-1 code for clips whose corpus does not state its language; "": unknown.
    """

    samplers: tuple[str, ...] = ()
    steps: tuple[int, ...] = STEPS
    metrics: tuple[str, ...] = tuple(METRICS)
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    language: str = ""

    def resolve(self, vocoder: Vocoder) -> "Settings":
        """Return the settings with the model's samplers filled in and duplicates removed.

        Raises:
            UserError: an unknown metric, fewer than one step, or a sampler that is unknown, not supported by this
                model, or needs more steps than any of these.
        """
        for name in self.metrics:
            if name not in METRICS:
                raise UserError(f"metric {name!r}", "is unknown", f"choose from {', '.join(METRICS)}")
        if min(self.steps, default=0) < 1:
            raise UserError("steps", "must be 1 or more", "set them, such as --steps 4,6,10")
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
    """Compute the results that are missing in the record at `path`.

    Args:
        vocoder: the model to benchmark, on the CPU.
        on_gpu: the same model on a GPU, which is timed; None without a GPU.
        data: manifests by name of their block.
        settings: settings of the benchmark.
        path: path of the record, a JSON file.
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
                    _, work = synthesize(gpu, held_out.inputs)
                    row.speed["cuda"] = Speed.of(work, held_out.seconds, record.environment["gpu"])
                record.save(path)
    return record


def _systems(
    vocoder: Vocoder, on_gpu: Vocoder | None, settings: Settings
) -> Iterator[tuple[str, Row, System, System | None]]:
    """(key, empty row, system, the same on the GPU) in table order; samplers that need more steps are skipped."""
    for system in (ground_truth(), *without_network(vocoder)):
        yield system.name, Row(system.label, system.note), system, None
    for sampler in settings.samplers:
        for steps in settings.steps:
            if steps >= presets.PRESETS[sampler].min_nfe:
                row = Row(sampler, f"The network with {steps} steps of {sampler}.", sampler, steps)
                cpu = _network(vocoder, sampler, steps)
                yield f"{sampler}/{steps}", row, cpu, on_gpu and _network(on_gpu, sampler, steps)


def _network(vocoder: Vocoder, sampler: str, steps: int) -> System:
    def generate(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # steps outside the validated range
            return vocoder.generate(mel, steps, clip_seeds=[seed], sampler=sampler).samples

    return System(f"{sampler}/{steps}", sampler, "", generate)


def _copy_equivalent(row: Row, block: Block) -> None:
    """Copy the results of a row whose sampler resolves to the same one."""
    for other in block.rows.values():
        if row.steps and other.steps == row.steps and _resolved(other) == _resolved(row):
            row.scores, row.speed = other.scores | row.scores, other.speed | row.speed


def _resolved(row: Row) -> str:
    return presets.chosen(row.sampler, row.steps)


def _complete(
    row: Row, block: Block, held_out: HeldOut, system: System, metrics: Sequence[str], pool: MetricPool
) -> None:
    """Compute the missing scores and the missing CPU speed of a row."""
    metrics = [name for name in metrics if name not in row.scores]
    untimed = system.timed and "cpu" not in row.speed
    if not (metrics or untimed):
        return
    waveforms, work = synthesize(system, held_out.inputs)
    if untimed:
        row.speed["cpu"] = Speed.of(work, held_out.seconds, environment.processor(), torch.get_num_threads())
    clips = zip(held_out.recordings, waveforms, held_out.texts, strict=True)
    pairs = [Pair(x.numpy(), {system.name: waveform}, held_out.sample_rate, text) for x, waveform, text in clips]
    scored = list(pool(pairs, metrics)) if metrics else []
    for name in metrics:
        row.scores[name] = np.array([one.scores[system.name][name] for one in scored])
        block.weights[name] = np.array([one.weights[name] for one in scored])


def _text(clip: Clip, settings: Settings) -> str | None:
    return clip.text if language(clip, settings.language) == transcript.LANGUAGE else None


def _block(name: str, clips: list[Clip], texts: list[str | None], settings: Settings) -> Block:
    return Block(
        name=name,
        seed=settings.seed,
        clips=[clip.id for clip in clips],
        clip_list_sha256=clip_list_hash(clips),
        seconds=sum(clip.seconds for clip in clips),
        splits=list(settings.splits),
        clips_sha256=content_hash([asdict(clip), text] for clip, text in zip(clips, texts, strict=True)),
        words={"text": sum(map(bool, texts)), "recording": texts.count(""), "none": texts.count(None)},
    )
