"""The student of the drum model whose guidance scale is an input, beside guided sampling of its teacher.

`python bench/guidance_distillation.py train --data data/drums --runs RUNS --minutes 2` trains the student of
`recipes/drums_guidance` for so many minutes of processor time of one thread, as `bench/distillation.py` does for the
others. `score` generates clips with both at several numbers of steps and scales, with the same noise and labels in all
rows, and writes `bench/results/distillation_guidance.md`: Frechet distance to the held-out recordings, the interval of
its paired difference from the guided teacher of the same steps and scale, accuracy and variety, all as there.
"""

import argparse
import warnings
from pathlib import Path

import distillation
import torch
from distillation import RESULTS, Recordings, generate, spread, teacher_sampler
from steps import paired

from audiodiff.evaluation import environment
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics.distribution import frechet
from audiodiff.pipelines.audio_generator import AudioGenerator

METHOD, MODEL = "guidance", "drums"
WORDS = ("+recipe=drums_guidance", f"init_from={MODEL}", "data.workers=0", "callbacks.samples.clips=2")
STEPS, SCALES = (1, 2, 4, 8), (1.0, 2.0, 4.0)
TEXT = """# Guidance of the drum model in one evaluation a step

`{command}`

{facts}

Processor time of one thread for the student: {cost}. {clips} clips a row, with the labels of the {held_out} held-out
recordings in turn and the same noise in all rows; distances are to these recordings, in {dimensions} dimensions. The
interval is that of the paired difference from the guided teacher of the same scale and steps (95 %). Evaluations are
those of the network for a clip. {accuracy} of the held-out recordings are assigned to their label. Both take `ddim`
below four steps, where the teacher's own sampler extrapolates. One run, no listening test.

| scale | steps | | evaluations | Frechet distance | from the guided teacher | interval | accuracy | variety |
|--:|--:|---|--:|--:|--:|--:|--:|--:|
{table}
"""


def score(options: argparse.Namespace) -> None:
    """Generate, compare, write the table."""
    teacher = AudioGenerator.from_pretrained(MODEL)
    student = AudioGenerator.from_pretrained(distillation.student(options, METHOD, 1))
    recordings = Recordings(teacher, options.data)
    axes, targets = recordings.axes, recordings.targets
    labels, real = (targets * options.clips)[: options.clips], axes(recordings.real)
    warnings.simplefilter("ignore", UserWarning)  # of steps that a model is not for
    lines = []
    for scale in SCALES:
        for steps in STEPS:
            sampler = teacher_sampler(steps)
            reference = axes(generate(teacher, labels, steps, sampler, scale))
            base = frechet(reference, real)
            for name, generator in (("teacher", teacher), ("student", student)):
                own = generator is teacher
                points = reference if own else axes(generate(generator, labels, steps, sampler, scale))
                distance, gap = frechet(points, real), paired(frechet, points, reference, real)
                interval = "" if own else " to ".join(f"{100 * end / base:+.0f}" for end in (gap.low, gap.high)) + " %"
                change = "" if own else f"{100 * (distance / base - 1):+.0f} %"
                evaluations = steps * (2 if own and scale != 1 else 1)
                figures = (
                    f"{evaluations} | {distance:.2f} | {change} | {interval} | {recordings.accuracy(points, labels)}"
                )
                lines.append(f"| {scale:g} | {steps} | {name} | {figures} | {spread(points) / spread(real):.2f} |")
                print(lines[-1], flush=True)
    text = TEXT.format(
        command=f"python bench/guidance_distillation.py score --data data/drums --clips {options.clips}",
        facts=format_facts(environment.describe("cpu") | {"teacher": teacher.model_hash[:12]}),
        cost=distillation.cost_of(options, METHOD, METHOD), clips=options.clips, held_out=len(real),
        dimensions=axes.basis.shape[1], accuracy=recordings.accuracy(real, targets), table="\n".join(lines),
    )  # fmt: skip
    write_text(options.out / "distillation_guidance.md", text)


def main() -> None:
    """Train the student, or score it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("train", "score"))
    parser.add_argument("--data", default="data/drums")
    parser.add_argument("--runs", type=Path, default=Path("runs/guidance_distillation"))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.verb == "score":
        return score(options)
    distillation.train(METHOD, [*WORDS, f"data.path={options.data}", *distillation.QUIET], STEPS, options)


if __name__ == "__main__":
    main()
