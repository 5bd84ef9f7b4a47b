"""Ablation of the vocoder's recipe: one change per row, with equal training time.

`python bench/ablation.py --data data/asterisk-en --minutes 5` trains the recipe and each variant of `VARIANTS` on the
same crops for the same time, renders the same held-out clips with the same number of steps, with and without mel
consistency, computes all metrics, and writes `bench/results/ablation.md` and `ablation.json` with the mean paired
difference from the recipe. Finished parts are kept in `--work`: rerun the command to resume.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from hydra.utils import instantiate
from vocoder import check, kept
from vocoder_ours import clock, network, row_name
from vocoder_report import TRUTH, gains_table, quality_table, training_table
from vocoder_synthesis import Row, load, render, scored
from vocoder_training import Course, Training, alone, train

from audiodiff import config
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import choose, clip_list_hash
from audiodiff.evaluation.report import plain
from audiodiff.evaluation.systems import System, ground_truth
from audiodiff.files import write_text
from audiodiff.metrics import require_all
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results"
RECIPE = ("+recipe=speech_mel", "trainer=quick")
STEPS = 4  # in the range of few-step fine-tuning
FEW_STEP = ("+recipe=speech_few_step", "trainer=quick", "sampler.consistency=32")
NO_SOURCE = ("model.conditioners.excitation=null", "network.frontend.signals=0", "network.frontend.additive=true")


@dataclass(frozen=True)
class Variant:
    """A row: overrides of the recipe, and overrides of a second recipe for the second half of the time."""

    name: str
    changes: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


BASELINE = Variant("recipe")
VARIANTS = (
    BASELINE,
    Variant("no source", NO_SOURCE),
    Variant("prior off", ("prior=standard",)),
    Variant("prior of energy", ("prior=energy",)),
    Variant("bridge", ("prior=rough", "model.bridge=1.0", "network.frontend.signals=2")),
    Variant("strided front end", ("network=strided",)),
    Variant("objective epsilon", ("objective=epsilon",)),
    Variant("objective x0", ("objective=x0",)),
    Variant("no spectral loss", ("task.stft_weight=0",)),
    Variant("half few-step", (), FEW_STEP),
    Variant("half few-step, projected only after", (), (*FEW_STEP, "task.consistency=0")),
    Variant("narrower", ("network.channels=[192,256]",)),
    Variant("wider", ("network.channels=[384,512]",)),
    Variant("hop of 128", ("network.frontend.hop_length=128",)),
    Variant("window of 512, hop of 128", ("network.frontend.n_fft=512", "network.frontend.hop_length=128")),
    Variant("deeper", ("network.blocks=[3,6]",)),
)


@dataclass(frozen=True)
class Ablation:
    """A variant as a contender of `vocoder_training`."""

    variant: Variant

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.variant.name.replace(" ", "_")

    @property
    def rows(self) -> tuple[str, ...]:
        """With mel consistency and without."""
        return row_name(STEPS), row_name(STEPS, alone=True)

    def train(self, course: Course, folder: Path) -> Training:
        """Train as `python train.py` does: one recipe, or two for half of the time each."""
        from vocoder_clock import Clock

        from audiodiff import train

        share = course.seconds / (2 if self.variant.then else 1)
        where = (f'trainer.max_time="{clock(share)}"', f"+callbacks.clock._target_={Clock.__module__}.{Clock.__name__}")
        stages = [(*course.recipe, *self.variant.changes)]
        if self.variant.then:
            own = tuple(word for word in course.recipe if word not in RECIPE)
            stages.append((*self.variant.then, *own, f'init_from="{folder / "0" / "model"}"'))
        seconds = steps = hours = 0.0
        for number, words in enumerate(stages):
            run = folder / str(number)
            train.run(config.compose([*words, *where, f'folder="{run}"']), run)
            vocoder = Vocoder.from_pretrained(run / "model")
            seconds, steps = seconds + Clock.seconds, steps + vocoder.training["steps"]
            hours += vocoder.training["audio_hours"]
        (run / "model").rename(folder / "model")
        parameters = sum(parameter.numel() for parameter in vocoder.model.parameters())
        return Training(int(steps), hours * 3600, seconds, parameters)

    def systems(self, course: Course, work: Path, device: str) -> list[System]:
        """Systems of the trained variant."""
        vocoder = Vocoder.from_pretrained(work / self.name / "model", device)
        return [network(vocoder, STEPS, alone) for alone in (False, True)]


def trained(ablation: Ablation, course: Course, work: Path) -> Training:
    """Train a variant, unless it is trained; describe its training."""

    def begin() -> dict:
        shutil.rmtree(work / ablation.name / "0", ignore_errors=True)  # of an interrupted training
        shutil.rmtree(work / ablation.name / "1", ignore_errors=True)
        print(f"training: {ablation.variant.name}", flush=True)
        return asdict(alone(train, ablation, course, work / ablation.name))

    return Training(**kept(work / ablation.name / "training.json", begin))


def score(ablation: Ablation, course: Course, work: Path, held_out, workers: int | None) -> dict[str, Row]:
    """Render and score a variant; its two rows by name."""

    def compute(name: str) -> dict:
        print(f"rendering: {ablation.variant.name}, {name}", flush=True)
        waveforms, label, note, memory = alone(render, ablation, name, course, work, held_out)
        return asdict(Row(name, ablation.name, label, note, memory, scored(waveforms, held_out, workers)))

    rows = work / ablation.name / "rows"
    return {name: Row(**kept(rows / f"{name}.json", partial(compute, name))) for name in ablation.rows}


def truth(held_out, workers: int | None) -> Row:
    """The row of the recordings."""
    system = ground_truth()
    scores = scored(list(held_out.recordings), held_out, workers)
    return Row(TRUTH, TRUTH, system.label, system.note, 0.0, scores)


def table(rows: dict[str, Row], recording: Row | None = None) -> str:
    """Format a Markdown table: a line for each variant, means with intervals."""
    named = {name: Row(name, row.contender, name, row.note, row.memory, row.scores) for name, row in rows.items()}
    return quality_table(({TRUTH: recording} if recording else {}) | named)


def page(rows: dict[str, dict[str, Row]], trainings: dict[str, Training], recording: Row, how: str) -> str:
    """Format the page."""
    where = " · ".join(f"{key} {value}" for key, value in environment.describe("cpu").items() if value is not None)
    projected, alone_ = ({name: of[row_name(STEPS, alone)] for name, of in rows.items()} for alone in (False, True))
    changes = [f"- {one.name}: `{' '.join(one.changes or one.then)}`" for one in VARIANTS if one.name in rows][1:]
    parts = ["# Ablation of the vocoder's recipe", where, how, "\n".join(changes), "## Training"]
    parts += [training_table(trainings), f"## {STEPS} steps, network alone", table(alone_, recording)]
    parts += [
        "Gain over the recipe (positive is better for every metric; * the interval excludes 0):",
        gains_table(alone_, BASELINE.name),
    ]
    parts += [
        f"## {STEPS} steps and mel consistency",
        table(projected, recording),
        gains_table(projected, BASELINE.name),
    ]
    return "\n\n".join(parts) + "\n"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("--data", default="data/asterisk-en", help=f"folder of a prepared corpus {default}")
    parser.add_argument("--minutes", type=float, default=5.0, help=f"training time of each variant {default}")
    parser.add_argument("--clips", type=int, default=20, help=f"maximum number of held-out clips {default}")
    parser.add_argument(
        "--only",
        action="append",
        choices=[one.name for one in VARIANTS],
        help="variant to train besides the recipe; repeat for several (default: all)",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help=f"threads of each process {default}")
    parser.add_argument("--workers", type=int, help="processes that compute metrics (default: one per core)")
    parser.add_argument("--seed", type=int, default=0, help=f"random seed {default}")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/bench_ablation"), help=f"folder of intermediate results {default}"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"output folder {default}")
    parser.add_argument("overrides", nargs="*", help="overrides of the recipe, for all variants")
    return parser.parse_args()


def run(given: argparse.Namespace) -> None:
    """Train, score, write; the page is updated after every variant."""
    torch.set_num_threads(given.threads)
    require_all()
    recipe = (*RECIPE, f'data.path="{given.data}"', f"seed={given.seed}", *given.overrides)
    cfg = config.compose(recipe)
    spec, crops, batch = instantiate(cfg.audio), cfg.data.crop_samples, cfg.data.batch_size
    seconds = given.minutes * 60
    course = Course(given.data, spec, crops, batch, seconds, given.seed, given.threads, "cpu", recipe)
    manifest = Manifest.load(given.data)
    clips, _ = choose(manifest, limit=given.clips)
    digest = clip_list_hash(list(clips))
    check(given.work, {"recipe": list(recipe), "seconds": seconds, "clips": digest, "data": manifest.content_hash()})
    how = (
        f"Every row is {given.minutes:g} minutes of wall time on {given.data} with one change of the recipe, "
        f"`{' '.join(recipe)}`; {given.threads} threads; {len(clips)} held-out clips (list SHA-256 `{digest}`)."
    )
    rows, trainings, recording, held_out = {}, {}, None, None
    for variant in VARIANTS:
        if given.only and variant.name not in (BASELINE.name, *given.only):
            continue
        ablation = Ablation(variant)
        trainings[variant.name] = trained(ablation, course, given.work)
        if held_out is None:
            vocoder = Vocoder.from_pretrained(given.work / ablation.name / "model")
            held_out = load(vocoder, manifest, clips, given.seed)
            recording = truth(held_out, given.workers)
        rows[variant.name] = score(ablation, course, given.work, held_out, given.workers)
        text = page(rows, trainings, recording, how)
        given.out.mkdir(parents=True, exist_ok=True)
        write_text(given.out / "ablation.md", text)
        record = {name: {row: asdict(one) for row, one in of.items()} for name, of in rows.items()}
        record = {"environment": environment.describe("cpu"), "how": how, "rows": record}
        write_text(given.out / "ablation.json", json.dumps(plain(record, digits=6), indent=1, allow_nan=False) + "\n")
    print(text)


def main() -> None:
    """Run the benchmark; errors are one line."""
    try:
        run(arguments())
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
