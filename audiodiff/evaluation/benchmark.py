"""The curve of a model: quality and speed over samplers and numbers of network calls, on one or several sets of clips.

Rows are worked on one after another: all clips are synthesized, one at a time and while nothing else is done, so that
the speed is measured; then they are scored in parallel; then the record is written. What the record has is not done
again. A sampler that stands for another ("recommended" at two calls is ddim) takes over that one's row.

The network's rows are what `Vocoder.generate` gives by default, mel consistency included if the model has it. Clips are
scored as made on the CPU; a GPU is timed.
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

from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.evaluation import environment, evaluate
from audiodiff.evaluation.language import language
from audiodiff.evaluation.record import Block, Record, Row, Speed
from audiodiff.evaluation.scoring import MetricPool, Pair
from audiodiff.evaluation.systems import System, ground_truth, without_network
from audiodiff.metrics import METRICS, require_all, transcript
from audiodiff.pipelines.vocoder import Vocoder

SAMPLERS = ("ddim", "dpmpp_2m")  # beside the model's own
CALLS = (1, 2, 4, 6, 10, 20, 50)


@dataclass(frozen=True)
class Settings:
    """What is swept, and what decides the numbers besides model and data.

    Attributes:
        samplers: names; none: the model's own and `SAMPLERS`.
        calls: numbers of network calls.
        metrics: names, keys of `metrics.METRICS`.
        seed: clip `id` is made from the noise of `clip_seed(seed, id)`, in every system that starts from noise.
        splits: of the manifests.
        limit: at most so many clips of each manifest, drawn by a hash of their ids; None: all.
        language: of clips whose corpus does not tell, as ISO 639-1; "" for unknown.
    """

    samplers: tuple[str, ...] = ()
    calls: tuple[int, ...] = CALLS
    metrics: tuple[str, ...] = tuple(METRICS)
    seed: int = 0
    splits: tuple[str, ...] = ("validation", "test")
    limit: int | None = None
    language: str = ""

    def checked(self, vocoder: Vocoder) -> "Settings":
        """Itself with the samplers filled in and everything once.

        Raises:
            UserError: an unknown metric, a number of calls below one, a sampler that is unknown, that this model cannot
                do, or that can do with none of these numbers of calls.
        """
        for name in self.metrics:
            if name not in METRICS:
                raise UserError(f"metric {name!r}", "unknown", f"choose among {', '.join(METRICS)}")
        if min(self.calls, default=0) < 1:
            raise UserError("calls", "are numbers from 1 on", "give some, such as --steps 4,6,10")
        samplers = tuple(dict.fromkeys(self.samplers or (vocoder.model.sampler, *SAMPLERS)))
        for name in samplers:
            vocoder.model.sampler_for(max(self.calls), name)
        metrics = tuple(name for name in METRICS if name in self.metrics)
        return replace(self, samplers=samplers, calls=tuple(sorted(set(self.calls))), metrics=metrics)


@dataclass(frozen=True)
class HeldOut:
    """The clips of a block, loaded: recordings (T,) at the model's rate, mels (M, F), seeds, and what is said."""

    recordings: list[Tensor]
    mels: list[Tensor]
    seeds: list[int]
    said: list[str | None]
    sample_rate: int

    @property
    def seconds(self) -> np.ndarray:
        """Of audio, (clips,)."""
        return np.array([len(recording) / self.sample_rate for recording in self.recordings])


def sweep(
    vocoder: Vocoder,
    on_gpu: Vocoder | None,
    data: dict[str, Manifest],
    settings: Settings,
    path: Path,
    workers: int | None = None,
    quiet: bool = False,
) -> Record:
    """Do what the record at `path` lacks.

    Args:
        vocoder: under judgement, on the CPU.
        on_gpu: the same model on a GPU, to be timed; None if there is none.
        data: manifests by the name of their block.
        settings: what is swept.
        path: of the record, a JSON file.
        workers: processes that metric; None: one a core; 0: this one.
        quiet: no progress bars.

    Raises:
        UserError: a metric's package is missing, no clips, a clip that cannot be read, bad settings.
    """
    settings = settings.checked(vocoder)
    require_all(settings.metrics)
    record = Record.load(path, _model(vocoder))
    record.environment = environment.describe() | {"gpu": on_gpu and environment.describe(on_gpu.device)["device"]}
    chosen = {name: evaluate.choose(manifest, _choice(settings))[0] for name, manifest in data.items()}
    with MetricPool(workers) as pool:
        for name, clips in chosen.items():
            block = record.block(_block(name, clips, settings))
            block.date = record.environment["date"]
            held_out = _load(vocoder, data[name], clips, settings)
            rows = list(_systems(vocoder, on_gpu, settings))
            for key, new, cpu, gpu in tqdm(rows, desc=name, unit="row", disable=quiet):
                row = block.rows.setdefault(key, new)
                _take_over(row, block)
                _work(row, block, held_out, cpu, settings.metrics, pool)
                if gpu and "cuda" not in row.speed:
                    _, spent = _synthesize(gpu, held_out)
                    row.speed["cuda"] = _speed(spent, held_out, record.environment["gpu"])
                record.save(path)
    return record


def _systems(
    vocoder: Vocoder, on_gpu: Vocoder | None, settings: Settings
) -> Iterator[tuple[str, Row, System, System | None]]:
    """(key, empty row, system, the same on the GPU) in the order of the table; impossible pairs are left out."""
    for system in (ground_truth(), *without_network(vocoder)):
        yield system.name, Row(system.label, system.note), system, None
    for sampler in settings.samplers:
        for calls in settings.calls:
            if calls >= presets.PRESETS[sampler].least:
                row = Row(sampler, f"The network, {calls} calls of {sampler}.", sampler, calls)
                cpu = _network(vocoder, sampler, calls)
                yield f"{sampler}/{calls}", row, cpu, on_gpu and _network(on_gpu, sampler, calls)


def _network(vocoder: Vocoder, sampler: str, calls: int) -> System:
    def made(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of calls it was not checked with
            return vocoder.generate(mel, calls, seed, sampler).samples

    return System(f"{sampler}/{calls}", sampler, "", made)


def _take_over(row: Row, block: Block) -> None:
    """Copy what is known of a row that is the same by another name."""
    for other in block.rows.values():
        if row.calls and other.calls == row.calls and _stands_for(other) == _stands_for(row):
            row.scores, row.speed = other.scores | row.scores, other.speed | row.speed


def _stands_for(row: Row) -> str:
    return presets.chosen(row.sampler, row.calls)


def _work(row: Row, block: Block, held_out: HeldOut, system: System, metrics: Sequence[str], pool: MetricPool) -> None:
    """Fill in what the row lacks of these metrics and of the speed on the CPU."""
    metrics = [name for name in metrics if name not in row.scores]
    untimed = system.timed and "cpu" not in row.speed
    if not (metrics or untimed):
        return
    waveforms, spent = _synthesize(system, held_out)
    if untimed:
        row.speed["cpu"] = _speed(spent, held_out, environment.processor(), torch.get_num_threads())
    clips = zip(held_out.recordings, waveforms, held_out.said, strict=True)
    pairs = [Pair(x.numpy(), {system.name: made}, held_out.sample_rate, said) for x, made, said in clips]
    scored = list(pool(pairs, metrics)) if metrics else []
    for name in metrics:
        row.scores[name] = np.array([verdict.scores[system.name][name] for verdict in scored])
        block.weights[name] = np.array([verdict.weights[name] for verdict in scored])


def _synthesize(system: System, held_out: HeldOut) -> tuple[list[np.ndarray], np.ndarray]:
    return evaluate.synthesize(system, held_out.recordings, held_out.mels, held_out.seeds)


def _speed(spent: np.ndarray, held_out: HeldOut, hardware: str, threads: int | None = None) -> Speed:
    seconds = held_out.seconds
    return Speed(float(np.median(spent / seconds)), float(spent.sum() / seconds.sum()), hardware, threads)


def _load(vocoder: Vocoder, manifest: Manifest, clips: list[Clip], settings: Settings) -> HeldOut:
    rate = vocoder.sample_rate
    recordings = [io.read(manifest.path(clip), rate).samples.clamp(-1, 1) for clip in clips]
    mels = [vocoder.mel(io.Audio(samples, rate)) for samples in recordings]
    seeds = [clip_seed(settings.seed, clip.id) for clip in clips]
    return HeldOut(recordings, mels, seeds, [_said(clip, settings) for clip in clips], rate)


def _said(clip: Clip, settings: Settings) -> str | None:
    return clip.text if language(clip, settings.language) == transcript.LANGUAGE else None


def _choice(settings: Settings) -> evaluate.Settings:
    return evaluate.Settings(splits=settings.splits, limit=settings.limit)


def _block(name: str, clips: list[Clip], settings: Settings) -> Block:
    said = [_said(clip, settings) for clip in clips]
    lines = [json.dumps([asdict(clip), text], sort_keys=True) for clip, text in zip(clips, said, strict=True)]
    words = {"text": sum(map(bool, said)), "recording": said.count(""), "none": said.count(None)}
    return Block(
        name,
        hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        settings.seed,
        [clip.id for clip in clips],
        evaluate.clip_list_hash(clips),
        sum(clip.seconds for clip in clips),
        list(settings.splits),
        words,
    )


def _model(vocoder: Vocoder) -> dict:
    return {
        "hash": vocoder.model_hash,
        "parameters": sum(parameter.numel() for parameter in vocoder.model.parameters()),
        "sampler": vocoder.model.sampler,
        "consistency": vocoder.model.consistency,
        "validated": vocoder.model.validated,
        "mel_spec": vocoder.spec.to_dict(),
    }
