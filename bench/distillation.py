"""Students of few steps beside their teacher: quality at 1, 2, 4 and 8 steps, each after the same processor time.

`python bench/distillation.py train METHOD --data data/drums --runs RUNS --minutes 7` trains a student of `drums` by its
recipe, for as many steps as take these minutes of processor time of one thread (a step's is measured first), and keeps
the student of each number of steps. `python bench/distillation.py score --data data/drums --runs RUNS` generates clips
with the labels of the held-out recordings in turn, and writes `bench/results/distillation.md` and `.png`:

- Frechet distance to the held-out recordings in spectral features (`audiodiff/metrics/timbre.py`), with the 95 %
  interval of its paired difference from the teacher at 16 steps (same seeds and labels);
- accuracy: share of clips that a linear discriminant of these features, fitted to the training recordings, assigns to
  their label;
- variety: mean distance between two clips, relative to recordings.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.figure import Figure
from steps import paired

from audiodiff import config, schema
from audiodiff.conditioners.conditioner import without_weights
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.generation_evaluation import choose_segments, load_segments
from audiodiff.evaluation.report import format_facts
from audiodiff.files import atomic_write, write_text
from audiodiff.metrics import timbre
from audiodiff.metrics.distribution import LEAST_PER_DIMENSION, Axes, frechet
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.train import start
from audiodiff.training.batch_random import BatchRandom

RESULTS, TRAIN = Path(__file__).parent / "results", Path(__file__).parents[1] / "train.py"
# Recipes, and the numbers of steps that a run has a student for.
METHODS: dict[str, tuple[str, tuple[int, ...]]] = {
    "progressive": ("drums_progressive", (8, 4, 2, 1)),
    "consistency": ("drums_consistency", (1, 2, 4, 8)),
    "consistency training": ("drums_consistency_training", (1, 2, 4, 8)),
    "energy distance": ("drums_energy", (1, 2, 4)),
    "adversarial": ("drums_adversarial", (1, 2, 4, 8)),
    "energy distance after progressive": ("drums_energy", (2,)),
}
# Methods that start from the student of so many steps of another, which is trained before.
AFTER = {"energy distance after progressive": ("progressive", 2)}
TEXT = """# Students of the drum model, at 1 to 8 steps

`{command}`

{facts}

Processor time of one thread for each student: {costs}. {clips} clips per row, with
the labels of the {held_out} held-out recordings in turn; distances are to these recordings, in {dimensions} dimensions.
The interval is that of the paired difference from the teacher at 16 steps (95 %). Training recordings are at {floor};
{accuracy} of the held-out recordings are assigned to their label. The teacher takes `ddim` below four steps, where its
own sampler extrapolates.

| | steps | Frechet distance | from the teacher at 16 | interval | accuracy | variety |
|---|--:|--:|--:|--:|--:|--:|
{table}

![Frechet distance over steps](distillation.png)
"""
STEPS_TIMED = 9  # the first is left out
QUIET = ("callbacks.progress_bar=null", "+trainer.enable_progress_bar=false", "trainer.max_time=null")


def configuration(method: str, options: argparse.Namespace) -> list[str]:
    """Overrides of a method's run that do not depend on its length."""
    start = student(options, *AFTER[method]) if method in AFTER else "drums"
    words = [f"+recipe={METHODS[method][0]}", f"init_from={start}", f"data.path={options.data}", "data.workers=0"]
    words += [f"task.steps=[{METHODS[method][1][0]}]"] if method in AFTER else []
    return [*words, "callbacks.samples.clips=2", *QUIET]


def cost(words: Sequence[str], options: argparse.Namespace) -> float:
    """Processor time of a training step in seconds, the mean of several, which may have different numbers of steps."""
    cfg = config.compose([*words, f"folder={options.runs / 'cost'}", "resume=null"])
    torch.manual_seed(0)
    data, model = schema.build(cfg, "data"), schema.build(cfg, "model")
    data.conditioners = without_weights(model.conditioners)
    data.setup("fit")
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, lightning_module=SimpleNamespace(next_draw=0))
    start(model, cfg.init_from)
    module = schema.build(cfg, "training", model=model).train()
    module.task.prepare(model, data)
    optimizer, seconds = module.configure_optimizers(), []
    for number, batch in zip(range(STEPS_TIMED), data.train_dataloader(), strict=False):
        begin = time.process_time()
        module.task.on_step_start(model, batch, BatchRandom(number), lambda rows: rows)
        module.task.loss(model, batch, BatchRandom(number))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - begin)
    return float(np.mean(seconds[1:]))


def train(name: str, words: Sequence[str], counts: Sequence[int], options: argparse.Namespace) -> None:
    """Train a student for some minutes of processor time.

    Args:
        name: of the run; of one whose name begins with "progressive", each of `counts` is a stage.
        words: overrides of the run that do not depend on its length.
        counts: numbers of steps that the run has a student for.
        options: of the command.
    """
    folder = options.runs / name.replace(" ", "_")
    stages = len(counts) if name.startswith("progressive") else 1
    seconds = cost(words, options)
    length = int(60 * options.minutes / seconds / stages)
    write_text(options.runs / f"{folder.name}.json", json.dumps({"cost": seconds, "steps": length * stages}))
    shutil.rmtree(folder, ignore_errors=True)
    for stage in range(stages):
        own = [*words, f"trainer.max_steps={(stage + 1) * length}", f"trainer.val_check_interval={length}"]
        own += [f"resume={folder}" if stage else f"hydra.run.dir={folder}"]
        own += [f"task.stage_steps={length}"] if stages > 1 else []
        subprocess.run([sys.executable, TRAIN, *own], check=True)
        if stages > 1:
            shutil.copytree(folder / "model", folder / f"steps_{counts[stage]}")


def student(options: argparse.Namespace, name: str, steps: int) -> Path:
    """Folder of the student of a run for so many steps."""
    folder = options.runs / name.replace(" ", "_")
    return folder / (f"steps_{steps}" if name.startswith("progressive") else "model")


def cost_of(options: argparse.Namespace, name: str, method: str) -> str:
    """What a run cost, such as "progressive 560 steps of 0.21 s, 2.0 minutes"."""
    record = json.loads((options.runs / f"{name.replace(' ', '_')}.json").read_text(encoding="utf-8"))
    minutes = record["steps"] * record["cost"] / 60
    return f"{method} {record['steps']} steps of {record['cost']:.2f} s, {minutes:.1f} minutes"


class Discriminant:
    """Linear discriminant analysis: one Gaussian a class, of one covariance.

    Args:
        points: (N, K).
        labels: of each point.
    """

    def __init__(self, points: np.ndarray, labels: Sequence[str]):
        self.classes = sorted(set(labels))
        members = [points[[label == name for label in labels]] for name in self.classes]
        self.means = np.stack([one.mean(0) for one in members])
        within = np.concatenate([one - one.mean(0) for one in members])
        covariance = np.cov(within.T)
        shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        self.precision = np.linalg.inv(shrunk)

    def __call__(self, points: np.ndarray) -> list[str]:
        """The class of each point (N, K)."""
        offsets = points[:, None] - self.means
        distances = np.einsum("nck,kj,ncj->nc", offsets, self.precision, offsets)
        return [self.classes[index] for index in distances.argmin(1)]


def generate(
    generator: AudioGenerator, labels: Sequence[str], steps: int, sampler: str | None, guidance: float | None = None
) -> np.ndarray:
    """Embeddings (N, K) of a clip of each label; clip i has the same seed in every row. Guidance None: the model's."""
    seeds, found = clip_seeds(0, len(labels)), {}
    for label in dict.fromkeys(labels):
        own = [number for number, one in enumerate(labels) if one == label]
        options = {"labels": [label], "steps": steps, "sampler": sampler, "guidance_scale": guidance}
        audio = generator.generate(clip_seeds=[seeds[number] for number in own], **options)
        for number, clip in zip(own, audio.samples, strict=True):
            found[number] = timbre.embedding(clip.numpy(), audio.sample_rate)
    return np.array([found[number] for number in range(len(labels))])


def spread(points: np.ndarray) -> float:
    """Mean distance between two points (N, K)."""
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    return float(distances.sum() / (len(points) * (len(points) - 1)))


class Recordings:
    """Training and held-out recordings of the drum model as points, which generated clips are compared with.

    Attributes:
        known, real: embeddings of training and of held-out recordings, (N, K).
        axes: projection onto the dimensions of the comparison.
        discriminant: classifier of projected points, fitted to the training recordings.
        targets: labels of the held-out recordings.
    """

    def __init__(self, teacher: AudioGenerator, data: str):
        manifest, rate = Manifest.load(data), teacher.sample_rate
        held_out, training = choose_segments(teacher, manifest)
        self.known, self.real = (
            np.array([timbre.embedding(clip, rate) for clip in load_segments(manifest, some, teacher)])
            for some in (training, held_out)
        )
        self.axes = Axes.of(self.known, len(self.real) // LEAST_PER_DIMENSION)
        self.discriminant = Discriminant(self.axes(self.known), [clip.label for clip, _ in training])
        self.targets = [clip.label for clip, _ in held_out]

    def accuracy(self, points: np.ndarray, labels: Sequence[str]) -> str:
        """Share of projected points that are assigned to their label."""
        hits = np.mean([found == label for found, label in zip(self.discriminant(points), labels, strict=True)])
        return f"{100 * hits:.0f} %"


def score(options: argparse.Namespace) -> None:
    """Generate, compare, write the table and the plot."""
    teacher = AudioGenerator.from_pretrained("drums")
    recordings = Recordings(teacher, options.data)
    known, real, axes = recordings.known, recordings.real, recordings.axes
    labels = (recordings.targets * options.clips)[: options.clips]
    warnings.simplefilter("ignore", UserWarning)  # of steps that a model is not for
    counts = (1, 2, 4, 8, 16) if options.methods == list(METHODS) else (16,)
    rows = {("teacher", steps): generate(teacher, labels, steps, teacher_sampler(steps)) for steps in counts}
    costs = []
    for method in options.methods:
        counts = METHODS[method][1]
        trained = [steps for steps in sorted(counts) if student(options, method, steps).is_dir()]
        if missing := sorted(set(counts) - set(trained)):
            print(f"{method}: not trained for {', '.join(map(str, missing))} steps")
        costs += [cost_of(options, method, method)] if trained else []
        for steps in trained:
            generator = AudioGenerator.from_pretrained(student(options, method, steps))
            rows[method, steps] = generate(generator, labels, steps, None)
    for name, steps, folder in map(_beside, options.beside):
        rows[name, steps] = generate(AudioGenerator.from_pretrained(folder), labels, steps, None)
    reference, floor = axes(rows["teacher", 16]), frechet(axes(known)[: options.clips], axes(real))
    base, lines = frechet(reference, axes(real)), []
    results: dict[tuple[str, int], float] = {}
    for (method, steps), embeddings in rows.items():
        points = axes(embeddings)
        results[method, steps] = frechet(points, axes(real))
        gap = paired(frechet, points, reference, axes(real))
        own = points is reference or (method, steps) == ("teacher", 16)
        change = "–" if own else " to ".join(f"{100 * end / base:+.0f}" for end in (gap.low, gap.high)) + " %"
        variety = spread(points) / spread(axes(real))
        shown = f"{results[method, steps]:.2f} | {100 * (results[method, steps] / base - 1):+.0f} % | {change}"
        lines.append(f"| {method} | {steps} | {shown} | {recordings.accuracy(points, labels)} | {variety:.2f} |")
    beside = "".join(f' --beside "{name}:{steps}=FOLDER"' for name, steps, _ in map(_beside, options.beside))
    text = TEXT.format(
        command="python bench/distillation.py score --data data/drums --runs RUNS "
        f"--clips {options.clips} --minutes {options.minutes:g}{beside}",
        facts=format_facts(environment.describe("cpu") | {"teacher": teacher.model_hash[:12]}),
        clips=options.clips, held_out=len(real), dimensions=axes.basis.shape[1], floor=f"{floor:.2f}",
        accuracy=recordings.accuracy(axes(real), recordings.targets), table="\n".join(lines),
        costs="; ".join(costs),
    )  # fmt: skip
    write_text(options.out / "distillation.md", text)
    draw(results, floor, options.out / "distillation.png")
    print(text)


def draw(results: dict[tuple[str, int], float], floor: float, path: Path) -> None:
    """Frechet distance over steps, a line for each method."""
    figure = Figure(figsize=(8.5, 4), layout="constrained")
    axes = figure.add_subplot()
    for method in dict.fromkeys(method for method, _ in results):
        points = sorted((steps, value) for (name, steps), value in results.items() if name == method)
        axes.plot(
            *zip(*points, strict=True), marker="o", label=method, color="#222222" if method == "teacher" else None
        )
    axes.axhline(floor, color="#888888", linestyle=":", label="training recordings")
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="Frechet distance to held-out recordings")
    axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes.minorticks_off()
    figure.legend(loc="outside right upper")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _beside(text: str) -> tuple[str, int, str]:
    """Name, steps and folder of another student."""
    described, _, folder = text.partition("=")
    name, _, steps = described.rpartition(":")
    return name, int(steps), folder


def teacher_sampler(steps: int) -> str | None:
    """The teacher's: its own, but of first order where that needs more steps."""
    return "ddim" if steps < 4 else None


def main() -> None:
    """Train a student, or score all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("train", "score"))
    parser.add_argument("method", nargs="?", choices=METHODS)
    parser.add_argument("--data", default="data/drums")
    parser.add_argument("--runs", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--beside", nargs="+", default=[], metavar="NAME:STEPS=FOLDER", help="other students")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="that are scored")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.verb == "train":
        train(options.method, configuration(options.method, options), METHODS[options.method][1], options)
    else:
        score(options)


if __name__ == "__main__":
    main()
