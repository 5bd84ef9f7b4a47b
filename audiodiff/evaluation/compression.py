"""Comparison of a model with compressed versions of it: quality, size and speed, all in one run.

Versions take turns on every clip, so that a machine that gets slower does so for all of them. Time is that of the
process on one thread: other programs on the machine hardly change it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment, generation_evaluation
from audiodiff.evaluation.held_out import HeldOut, Settings, choose
from audiodiff.evaluation.report import DISCLAIMER
from audiodiff.evaluation.scoring import Pair, score
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.metrics import METRICS, require_all
from audiodiff.models import checkpoint, onnx_export
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

SCORED = ("pesq", "stoi")  # of a vocoder's clips
LIMIT = 30  # clips
_TIMED = 3  # clips of a generator


@dataclass(frozen=True)
class Version:
    """A version of the model.

    Attributes:
        label: name in the table.
        folder: checkpoint, or exported model.
    """

    label: str
    folder: Path

    @property
    def megabytes(self) -> float:
        """Size of its weights."""
        names = ("model.safetensors", onnx_export.GRAPH, onnx_export.ARRAYS)
        return sum(file.stat().st_size for name in names if (file := self.folder / name).is_file()) / 1e6

    def load(self, kind: Any) -> Any:
        """The pipeline of a class."""
        backend = "onnx" if onnx_export.is_export(self.folder) else "torch"
        return kind.from_pretrained(self.folder, backend=backend)


@dataclass(frozen=True)
class Measurement:
    """Results of one version with one number of steps: cells of its row after label and size."""

    steps: int
    cells: list[str]


Table = tuple[list[str], list[tuple[Version, Measurement]]]  # header after label, size and steps; rows


def compare(versions: Sequence[Version], data: Manifest, settings: Settings) -> str:
    """Compare versions, the original first, and format the result as Markdown.

    Args:
        versions: of one model type.
        data: manifest with held-out clips; of a generator, also with its training clips.
        settings: seed, splits, and limit as of `audiodiff evaluate`; steps None: the model's own.

    Raises:
        UserError: a model type without a comparison, a package or clips are missing.
    """
    kind = check(versions[0].folder)
    with _single_thread():
        header, rows = COMPARISONS[kind](versions, data, settings)  # type: ignore[misc]
    lines = ["| model | MB | steps | " + " | ".join(header) + " |", "|---|--:|--:|" + "--:|" * len(header)]
    for version, measured in rows:
        cells = [version.label, f"{version.megabytes:.1f}", str(measured.steps), *measured.cells]
        lines.append(f"| {' | '.join(cells)} |")
    facts = environment.describe()
    return "\n".join(
        [
            *lines,
            "",
            f"Measured on {facts['date'][:10]} on {facts['cpu']}: process time of one thread, versions by turns, clip "
            f"by clip. {DISCLAIMER}",
        ]
    )


def check(model: str | Path) -> str:
    """The type of a model that can be compared.

    Raises:
        UserError: it cannot be; says which types can.
    """
    kind = checkpoint.type_of(checkpoint.locate(model))
    if COMPARISONS.get(kind) is None:
        if kind not in MODEL_TYPES:
            checkpoint.load(model)  # which says what is wrong with it
        known = " or ".join(name for name, found in COMPARISONS.items() if found)
        raise UserError(model, f"is a model of type {kind}, which is not compressed", f"choose a model of type {known}")
    return kind


def _vocoder(versions: Sequence[Version], data: Manifest, settings: Settings) -> Table:
    require_all(SCORED)
    vocoders = [version.load(Vocoder) for version in versions]
    clips, _ = choose(data, settings.splits, settings.limit or LIMIT)
    held_out = HeldOut.load(vocoders[0], data, clips, settings.seed or 0)
    model = vocoders[0].model
    counts = (
        [settings.steps]
        if settings.steps
        else sorted({(model.validated or [model.default_steps])[0], model.default_steps})
    )
    rows = []
    for steps in counts:
        work, scores = _synthesize(vocoders, held_out, steps)
        for i, version in enumerate(versions):
            cells = [_score(name, scores[name][i], scores[name][0] if i else None) for name in SCORED]
            cells.append(f"{held_out.seconds.sum() / work[i].sum():.1f}")
            rows.append((version, Measurement(steps, cells)))
    return [*(METRICS[name].label for name in SCORED), f"times real time, {len(clips)} clips"], rows


def _synthesize(vocoders: Sequence[Vocoder], held_out: HeldOut, steps: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Seconds of work (versions, clips), and by metric scores of the same shape."""
    shape = len(vocoders), len(held_out.inputs)
    work, scores = np.zeros(shape), {name: np.zeros(shape) for name in SCORED}
    for vocoder in vocoders:  # warms up
        vocoder.generate(held_out.mels[0], steps)
    for k, (recording, mel, seed) in enumerate(held_out.inputs):
        estimates = {}
        for i, vocoder in enumerate(vocoders):
            start = time.process_time()
            samples = vocoder.generate(mel, steps, clip_seeds=[seed]).samples
            work[i, k] = time.process_time() - start
            estimates[str(i)] = samples[: len(recording)].clamp(-1, 1).numpy()
        scored = score(Pair(recording.numpy(), estimates, held_out.sample_rate), SCORED).scores
        for name in SCORED:
            scores[name][:, k] = [scored[str(i)][name] for i in range(len(vocoders))]
    return work, scores


def _score(name: str, values: np.ndarray, original: np.ndarray | None) -> str:
    """Mean over clips, and its difference from the original with a 95 % interval, clip by clip."""
    metric = METRICS[name]
    mean = metric.format(bootstrap(values).mean)
    if original is None:
        return mean
    gain = bootstrap(values - original)
    signed = [metric.format(value, signed=True) for value in (gain.mean, gain.low, gain.high)]
    return f"{mean} ({signed[0]}; {signed[1]} to {signed[2]})"


def _generator(versions: Sequence[Version], data: Manifest, settings: Settings) -> Table:
    generators = [version.load(AudioGenerator) for version in versions]
    steps = settings.steps or generators[0].model.default_steps
    seconds = generators[0].model.samples / generators[0].sample_rate
    rows = []
    for version, generator, spent in zip(versions, generators, _generate(generators, steps), strict=True):
        evaluation, _ = generation_evaluation.evaluate(generator, None, data, settings)
        distances = evaluation.rows[generation_evaluation.GENERATED].distances
        cells = [str(distances[name]) for name in generation_evaluation.DISTANCES]
        rows.append((version, Measurement(steps, [*cells, f"{seconds / np.median(spent):.1f}"])))
    return [*(f"{name} distance" for name in generation_evaluation.DISTANCES), "times real time"], rows


def _generate(generators: Sequence[AudioGenerator], steps: int) -> np.ndarray:
    """Seconds of work (versions, clips)."""
    work = np.zeros((len(generators), _TIMED + 1))
    for k in range(_TIMED + 1):  # the first warms up
        for i, generator in enumerate(generators):
            start = time.process_time()
            generator.generate(count=1, steps=steps)
            work[i, k] = time.process_time() - start
    return work[:, 1:]


# By model type: header and rows of the table; None: models of it are not compressed.
COMPARISONS: dict[str, Callable[[Sequence[Version], Manifest, Settings], Table] | None] = {
    "vocoder": _vocoder,
    "audio": _generator,
    "codec": None,
    "acoustic": None,
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "hypernetwork": None,
    "upsampler": None,
    "restorer": None,
}


@contextmanager
def _single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
