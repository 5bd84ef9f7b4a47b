"""Benchmark of a vocoder: quality and speed over samplers, steps and iterations, on one or several sets of clips.

Rows are computed one after another: all clips are synthesized, one at a time while nothing else runs, to measure the
speed; then they are scored in parallel; then the record is written. Results in the record are not computed again. A
sampler that resolves to another one ("recommended" at two steps is ddim) gets a copy of its results, as does a named
setting of the model that is one of the others. A set of clips of a new voice may have rows of a model that was
fine-tuned on that voice, beside those of the model that it was before.

Scores are of clips synthesized on the CPU; a GPU is only timed.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType

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
from audiodiff.models.setting import DEFAULT, MAX_ITERATIONS, Setting
from audiodiff.pipelines.vocoder import Vocoder

SAMPLERS = ("ddim", "dpmpp_2m")  # in addition to the model's own
STEPS = (1, 2, 4, 6, 10, 20, 50)


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
        samplers: names; empty: the model's own, and `SAMPLERS` unless several numbers of iterations are compared.
        steps: numbers of denoising steps.
        iterations: numbers of mel-consistency iterations; empty: the default one of the model.
        metrics: names, keys of `METRICS`.
        seed: random seed; the noise of clip `id` is that of `clip_seed(seed, id)`, in every system.
        splits: held-out splits of the manifests.
        limit: maximum number of clips per manifest, chosen by a hash of their ids; None: all.
        language: ISO 639-1 code for clips whose corpus does not state its language; "": unknown.
    """

    samplers: tuple[str, ...] = ()
    steps: tuple[int, ...] = STEPS
    iterations: tuple[int, ...] = ()
    metrics: tuple[str, ...] = tuple(METRICS)
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    language: str = ""

    def resolve(self, vocoder: Vocoder) -> "Settings":
        """Return the settings with the model's samplers filled in and duplicates removed.

        Raises:
            UserError: an unknown metric, fewer than one step or 0 iterations, or a sampler that is unknown, not
                supported by this model, or needs more steps than any of these.
        """
        for name in self.metrics:
            if name not in METRICS:
                raise UserError(f"metric {name!r}", "is unknown", f"choose from {', '.join(METRICS)}")
        if min(self.steps, default=0) < 1:
            raise UserError("steps", "must be 1 or more", "set them, such as --steps 4,6,10")
        if not 0 <= min(self.iterations, default=0) <= max(self.iterations, default=0) <= MAX_ITERATIONS:
            raise UserError("iterations", f"must be 0 to {MAX_ITERATIONS}", "set them, such as --iterations 0,16,32")
        iterations = tuple(sorted(set(self.iterations))) or (vocoder.model.consistency,)
        others = SAMPLERS if len(iterations) == 1 else ()
        samplers = tuple(dict.fromkeys(self.samplers or (vocoder.model.sampler, *others)))
        for name in samplers:
            vocoder.model.sampler_for(max(self.steps), name)
        metrics = tuple(name for name in METRICS if name in self.metrics)
        steps = tuple(sorted(set(self.steps)))
        return replace(self, samplers=samplers, steps=steps, iterations=iterations, metrics=metrics)


def sweep(
    vocoder: Vocoder,
    on_gpu: Vocoder | None,
    data: dict[str, Manifest],
    settings: Settings,
    path: Path,
    workers: int | None = None,
    quiet: bool = False,
    tuned: Mapping[str, Vocoder] = MappingProxyType({}),
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
        tuned: by name of a block, the model after fine-tuning on the voice of its clips.

    Raises:
        UserError: a metric's package is missing, no clips, a clip that cannot be read, bad settings, or a fine-tuned
            model of other mels or of a block that there is not.
    """
    settings = settings.resolve(vocoder)
    _check_tuned(vocoder, tuned, data)
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
            rows = [*_systems(vocoder, on_gpu, settings), *(_tuned(tuned[name]) if name in tuned else ())]
            _drop_outdated(block, [key for key, *_ in rows])
            for key, new, cpu, gpu in tqdm(rows, desc=name, unit="row", disable=quiet):
                if not (key in block.rows and block.rows[key].is_like(new)):  # a setting may have other values now
                    block.rows[key] = new
                row = block.rows[key]
                _copy_equivalent(row, key, block)
                _complete(row, block, held_out, cpu, settings.metrics, pool)
                _time_on_gpu(row, gpu, held_out, record)
                record.save(path)
    return record


def _systems(
    vocoder: Vocoder, on_gpu: Vocoder | None, settings: Settings
) -> Iterator[tuple[str, Row, System, System | None]]:
    """(key, empty row, system, the same on the GPU) in table order; samplers that need more steps are skipped."""
    for system in (ground_truth(), *without_network(vocoder)):
        yield system.name, Row(system.label, system.note, iterations=system.iterations), system, None
    named = vocoder.model.settings if vocoder.model.has_named_settings else ()
    for setting in named:
        row = _setting_row(setting, vocoder.model.settings[0])
        key = f"setting/{setting.name}"
        yield key, row, _network(vocoder, key, row), on_gpu and _network(on_gpu, key, row)
    for sampler, iterations, steps in product(settings.samplers, settings.iterations, settings.steps):
        if steps >= presets.PRESETS[sampler].min_nfe:
            note = f"The network with {steps} steps of {sampler}, then {iterations} iterations of mel consistency."
            row, key = Row(sampler, note, sampler, steps, iterations=iterations), f"{sampler}/{steps}/{iterations}"
            yield key, row, _network(vocoder, key, row), on_gpu and _network(on_gpu, key, row)


def _setting_row(setting: Setting, default: Setting) -> Row:
    is_default = setting is default and setting.name != DEFAULT
    label = f"{setting.name} (default)" if is_default else setting.name
    note = f"The model's setting {setting.name}: {setting}."
    iterations = setting.consistency
    return Row(label, note, setting.sampler, setting.steps, iterations=iterations, setting=setting.name)


def _tuned(vocoder: Vocoder) -> Iterator[tuple[str, Row, System, None]]:
    """The same for a model that was fine-tuned on the voice of the clips: its settings."""
    for setting in vocoder.model.settings:
        row, key = _setting_row(setting, vocoder.model.settings[0]), f"tuned/{vocoder.model_hash[:12]}/{setting.name}"
        row = replace(row, label=f"fine-tuned, {row.label}", setting=f"fine-tuned, {setting.name}")
        yield key, row, _network(vocoder, key, row), None


def _drop_outdated(block: Block, keys: Sequence[str]) -> None:
    """Drop rows of settings that the model no longer has, and of another fine-tuned model."""
    kinds = ["setting/", *(["tuned/"] if any(key.startswith("tuned/") for key in keys) else [])]
    for key in list(block.rows):
        if key.startswith(tuple(kinds)) and key not in keys:
            del block.rows[key]


def _check_tuned(vocoder: Vocoder, tuned: Mapping[str, Vocoder], data: Mapping[str, Manifest]) -> None:
    for name, other in tuned.items():
        if name not in data:
            raise UserError(f"tuned {name}", "there is no such data", f"choose {' or '.join(data)}")
        if differences := other.spec.differences(vocoder.spec):
            raise UserError(f"tuned {name}", f"reads other mels: {'; '.join(differences)}", "choose another model")


def _network(vocoder: Vocoder, name: str, row: Row) -> System:
    options = {"sampler": row.sampler, "consistency": row.iterations}

    def generate(_: Tensor, mel: Tensor, seed: int) -> Tensor:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # steps outside the validated range
            return vocoder.generate(mel, row.steps, clip_seeds=[seed], **options).samples

    return System(name, row.label, row.note, generate)


def _copy_equivalent(row: Row, key: str, block: Block) -> None:
    """Copy the results of a row of the same model whose sampler resolves to the same one."""
    for name, other in block.rows.items():
        same_model = name.startswith("tuned/") == key.startswith("tuned/") and row is not other
        if row.steps and same_model and _resolved(other) == _resolved(row):
            row.scores, row.speed = other.scores | row.scores, other.speed | row.speed


def _resolved(row: Row) -> tuple[str, int, int | None]:
    return presets.chosen(row.sampler, row.steps), row.steps, row.iterations


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


def _time_on_gpu(row: Row, gpu: System | None, held_out: HeldOut, record: Record) -> None:
    """Measure the missing GPU speed of a row, if there is a GPU."""
    if gpu and "cuda" not in row.speed:
        _, work = synthesize(gpu, held_out.inputs)
        row.speed["cuda"] = Speed.of(work, held_out.seconds, record.environment["gpu"])


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
