"""Students of few steps beside their teacher: quality at 1, 2, 4 and 8 steps, each after the same processor time.

`python bench/distillation.py train METHOD --data data/drums --runs RUNS --minutes 7` trains one student of `drums` by its
recipe, for as many steps as take these minutes of processor time of one thread (measured on the first steps of a run of
its own), and keeps the student of each number of steps. `python bench/distillation.py score --data data/drums --runs
RUNS` generates clips with the labels of the held-out recordings in turn, and writes `bench/results/distillation.md` and
`.png`:

- Frechet distance to the held-out recordings in spectral features (`audiodiff/metrics/timbre.py`), with the 95 %
  interval of its paired difference from the teacher at 16 steps (same seeds and labels);
- accuracy: share of clips that a linear discriminant of these features, fitted to the training recordings, assigns to
  their label;
- variety: mean distance between two clips, relative to recordings.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from steps import paired

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.generation_evaluation import choose_segments, load_segments
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics import timbre
from audiodiff.metrics.distribution import Axes, frechet
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds

RESULTS, TRAIN = Path(__file__).parent / "results", Path(__file__).parents[1] / "train.py"
# Recipes, and the numbers of steps that a run has a student for.
METHODS = {
    "progressive": ("drums_progressive", (8, 4, 2, 1)),
    "consistency": ("drums_consistency", (1, 2, 4, 8)),
    "consistency training": ("drums_consistency_training", (1, 2, 4, 8)),
    "energy distance": ("drums_energy", (1, 2, 4)),
    "adversarial": ("drums_adversarial", (1, 2, 4, 8)),
}
WARM_UP, MEASURED = 2, 10  # training steps of the run that measures their cost


def train(method: str, options: argparse.Namespace) -> None:
    """Train a student for some minutes of processor time."""
    recipe, counts = METHODS[method]
    folder = options.runs / method.replace(" ", "_")
    common = [f"+recipe={recipe}", "init_from=drums", f"data.path={options.data}", "data.workers=0"]
    common += ["callbacks.samples.clips=2", "callbacks.progress_bar=null", "+trainer.enable_progress_bar=false"]
    stages = len(counts) if method == "progressive" else 1

    def run(steps: int, at: Path, *words: str) -> float:
        """Processor time in seconds of a run of so many steps."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        where = f"resume={at}" if (at / "checkpoints").is_dir() else f"hydra.run.dir={at}"
        limits = [f"trainer.max_steps={steps}", "trainer.max_time=null", where]
        subprocess.run([sys.executable, TRAIN, *common, *limits, *words], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def lengths(steps: int) -> list[str]:
        return [f"task.stage_steps={steps}"] if stages > 1 else []

    trial = options.runs / f"{folder.name}_trial"
    seconds = []
    for steps in (WARM_UP, WARM_UP + MEASURED):
        shutil.rmtree(trial, ignore_errors=True)
        seconds.append(run(steps, trial, "trainer.val_check_interval=1000000", *lengths(1)))
    shutil.rmtree(trial)
    cost = (seconds[1] - seconds[0]) / MEASURED
    length = int(60 * options.minutes / cost / stages)
    write_text(options.runs / f"{folder.name}.json", json.dumps({"cost": cost, "steps": length * stages}))
    shutil.rmtree(folder, ignore_errors=True)
    for stage in range(stages):
        run((stage + 1) * length, folder, f"trainer.val_check_interval={length}", *lengths(length))
        if stages > 1:
            shutil.copytree(folder / "model", folder / f"steps_{counts[stage]}", dirs_exist_ok=True)


def student(options: argparse.Namespace, method: str, steps: int) -> Path:
    """Folder of the student of a method for so many steps."""
    folder = options.runs / method.replace(" ", "_")
    return folder / (f"steps_{steps}" if method == "progressive" else "model")
