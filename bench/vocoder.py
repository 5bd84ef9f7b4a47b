"""Vocoders trained alike and scored alike: ours, DiffWave and Vocos, beside what is to be had without training.

`python bench/vocoder.py --data data/asterisk-en --minutes 8` trains our recipe, the `diffwave` package and a generator
out of the `vocos` package on the same crops for the same time, renders the same held-out clips with all of them,
with Griffin-Lim, WORLD and shaped noise, asks every metric, times everything in one process, and writes
`bench/results/vocoder.md` and `vocoder.json`, with whether each goal is reached. What was adapted stands at the head of
`vocoder_diffwave.py` and `vocoder_vocos.py`, and in the results.

`--speed MODEL` measures speed alone, of any of our models at its settings, see `vocoder_speed.py`.

`--score-on` scores on the held-out clips of other folders than those of `--data`; what is trained is not trained again.
`--clock processor` limits training by processor time, so that other work on the machine does not count.

What is trained and scored is kept in `--work`: an interrupted bench goes on with what is missing, and one with other
settings of training is refused. Speed is measured at the end, anew each time. Further arguments are overrides of our
recipe; batch, crops and mel spec are the recipe's for everybody: `data.batch_size=16`, `trainer.precision=bf16-mixed`.
"""

import argparse
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
import vocoder_report
import vocoder_speed
from hydra.utils import instantiate
from omegaconf import OmegaConf
from vocoder_clock import CLOCKS
from vocoder_ours import Ours, Untrained, trained
from vocoder_synthesis import HeldOut, Row, load, render, scored, speeds
from vocoder_training import Contender, Course, Training, alone, train

from audiodiff import config
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import choose, clip_list_hash
from audiodiff.files import write_text
from audiodiff.metrics import require_all

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("diffwave", "vocos")
RECIPE = ("+recipe=speech_mel", "trainer=quick")
# Small enough to show within a minute or two that everything runs.
QUICK = ("network.channels=[32,32]", "network.blocks=[1,1]", "data.batch_size=1", "data.crop_samples=4096")


@dataclass(frozen=True)
class Bench:
    """One bench.

    Args:
        contenders: in the order of the tables; ours among them.
        course: what they are given.
        clips: held-out clips to score.
        manifest: that the clips are of.
        scored_on: its folders.
        work: the folder of what is done already.
        workers: processes that compute metrics.
        timed: clips to measure speed on.
        rounds: measurements of speed.
    """

    contenders: Sequence[Contender]
    course: Course
    clips: Sequence[Clip]
    manifest: Manifest
    scored_on: Sequence[str]
    work: Path
    workers: int | None = None
    timed: int = 5
    rounds: int = 3

    def trained_by(self) -> dict:
        """What decides what is trained, ready for JSON."""
        course = {name: value for name, value in asdict(self.course).items() if name != "spec"}
        recipe = OmegaConf.to_yaml(config.compose(self.course.recipe))
        return course | {
            "recipe": list(self.course.recipe),
            "recipe_sha256": hashlib.sha256(recipe.encode()).hexdigest(),
            "mel_spec": self.course.spec.to_dict(),
            "manifest_hash": Manifest.join([Manifest.load(path) for path in self.course.data]).content_hash(),
            "versions": {name: version(name) for name in ("torch", *self.packages)},
        }

    def settings(self) -> dict:
        """What decides the numbers, ready for JSON."""
        facts = {"scored_on": list(self.scored_on), "clips": len(self.clips), "clip_list_sha256": self.clip_list}
        return self.trained_by() | facts

    @property
    def clip_list(self) -> str:
        """Hash of what is scored."""
        return clip_list_hash(list(self.clips))

    @property
    def packages(self) -> list[str]:
        """The peers among the contenders."""
        return [one.name for one in self.contenders if one.name in PACKAGES]

    def train(self) -> dict[str, Training]:
        """Everybody who learns, by name."""
        found = {}
        for one in self.contenders:
            told = kept(self.work / one.name / "training.json", partial(self._train, one))
            if told is not None:
                found[one.name] = Training(**told)
        return found

    def _train(self, contender: Contender) -> dict | None:
        folder = self.work / contender.name
        shutil.rmtree(folder, ignore_errors=True)  # of a training that was interrupted
        folder.mkdir(parents=True)
        print(f"training {contender.name}", flush=True)
        training = alone(train, contender, self.course, folder)
        return training and asdict(training)

    def metric(self) -> dict[str, Row]:
        """All systems by name, rendered and scored, not yet timed."""
        held_out, found = self._held_out(), {}
        for one in self.contenders:
            for name in one.rows:
                path = self.work / one.name / f"rows-{self.clip_list[:12]}" / f"{name}.json"
                found[name] = Row(**kept(path, partial(self._row, one, name, held_out)))
        return found

    def _row(self, contender: Contender, name: str, held_out: HeldOut) -> dict:
        print(f"rendering {name}", flush=True)
        waveforms, *told = alone(render, contender, name, self.course, self.work, held_out)
        return asdict(Row(name, contender.name, *told, scored(waveforms, held_out, self.workers)))

    def time(self, rows: dict[str, Row]) -> None:
        """Fill in the speeds: on the CPU, and on a GPU if there is one."""
        held_out = self._held_out().spread(self.timed)
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            print(f"timing on {device}", flush=True)
            found = alone(speeds, self.contenders, self.course, self.work, held_out, device, self.rounds)
            for name, speed in found.items():
                rows[name].speed[device] = speed

    def _held_out(self) -> HeldOut:
        return load(trained(self.work, "cpu"), self.manifest, self.clips, self.course.seed)

    def how(self) -> str:
        """How it was measured, in words."""
        course, seconds = self.course, sum(clip.seconds for clip in self.clips)
        data, scored_on = ", ".join(course.data), ", ".join(self.scored_on)
        return (
            f"Everybody was trained for {course.seconds / 60:.3g} minutes of {course.clock} time on the same crops of "
            f"{data} ({course.batch_size} of {course.crop_samples} samples a step, seed {course.seed}, "
            f"{course.threads} threads, on {course.device}), ours by `{' '.join(course.recipe)}`. Scored on "
            f"{len(self.clips)} held-out clips of {scored_on} ({seconds:.0f} s; list SHA-256 "
            f"`{self.clip_list}`), everybody told the same mels; speed on "
            f"{min(self.timed, len(self.clips))} of them, of all lengths, median of {self.rounds} rounds."
        )

    def notes(self) -> str:
        """What was adapted in the peers, as their modules say."""
        peers = [one for one in self.contenders if one.name in PACKAGES]
        said = [inspect.getmodule(type(one)).__doc__.split("\n\n")[1] for one in peers]
        return "\n".join(f"- {one.name}: {' '.join(text.split())}" for one, text in zip(peers, said, strict=True))


def contenders(peers: Sequence[str] = PACKAGES) -> list[Contender]:
    """Ours, those that need no training, and these peers, which need the extra `bench`."""
    return [Untrained(), *(import_module(f"vocoder_{name}").Peer() for name in peers), Ours()]


def kept(path: Path, make: Callable[[], dict | None]) -> dict | None:
    """What a file keeps; if there is none, what `make` answers, which is kept from then on."""
    if not path.exists():
        write_text(path, json.dumps(make()) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def check(work: Path, settings: dict) -> None:
    """Keep the settings with the work.

    Raises:
        UserError: it was begun with others.
    """
    begun = kept(work / "settings.json", lambda: settings)
    other = [name for name in settings if begun.get(name) != json.loads(json.dumps(settings[name]))]
    if other:
        raise UserError(work, f"was begun with other settings: {', '.join(other)}", "name another --work, or remove it")


def prepare(given: argparse.Namespace, work: Path) -> Bench:
    """The bench that a command line asks for.

    Raises:
        UserError: no data, no clips, a bad override.
    """
    if given.quick:
        write_tones(work / "tones", clips=6, seconds=0.8)
        given.data, given.minutes, given.clips = [str(work / "tones")], 2 / 60, 1
        given.overrides = [*QUICK, *given.overrides]
    accelerator = "cpu" if given.device == "cpu" else "gpu"
    quoted = ",".join(f'"{path}"' for path in given.data)
    where = (f"data.path=[{quoted}]", f"seed={given.seed}", f"trainer.accelerator={accelerator}")
    recipe = (*RECIPE, *where, *given.overrides)
    cfg = config.compose(recipe)
    course = Course(
        tuple(given.data),
        instantiate(cfg.audio),
        cfg.data.crop_samples,
        cfg.data.batch_size,
        given.minutes * 60,
        given.seed,
        given.threads,
        given.device,
        recipe,
        given.clock,
    )
    scored_on = given.score_on or given.data
    manifests = [Manifest.load(path) for path in scored_on]
    chosen = {clip.id for one in manifests for clip in choose(one, limit=given.clips)[0]}
    manifest = Manifest.join(manifests)  # which has paths of its own
    clips = [clip for clip in manifest.clips if clip.id in chosen]
    rounds = 1 if given.quick else 3
    bench = Bench(contenders(given.peers), course, clips, manifest, scored_on, work, given.workers, rounds=rounds)
    check(work, bench.trained_by())
    return bench


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    data = {"nargs": "+", "default": ["data/asterisk-en"], "metavar": "FOLDER"}
    parser.add_argument("--data", **data, help=f"folders that audiodiff prepare made, to train on {default}")
    parser.add_argument(
        "--score-on", nargs="+", metavar="FOLDER", help="of the held-out clips (default: those of --data)"
    )
    parser.add_argument("--peers", nargs="*", default=PACKAGES, choices=PACKAGES, help=f"packages to compare {default}")
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help=f"that limits training {default}")
    parser.add_argument("--minutes", type=float, default=8.0, help=f"of training, for each {default}")
    parser.add_argument("--clips", type=int, help="at most so many held-out clips of a folder (default: all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help=f"of every process {default}")
    parser.add_argument("--workers", type=int, help="processes that compute metrics (default: one per core)")
    parser.add_argument("--device", default="cpu", help=f"to train and to render on {default}")
    parser.add_argument("--seed", type=int, default=0, help=f"of everything {default}")
    parser.add_argument("--work", type=Path, default=Path("runs/bench_vocoder"), help=f"what is done already {default}")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder of the results {default}")
    parser.add_argument("--speed", nargs="+", metavar="MODEL", help="only speed, of these, on 1 thread and --threads")
    lengths = {"nargs": "+", "type": float, "default": vocoder_speed.SECONDS}
    parser.add_argument("--lengths", **lengths, help=f"of --speed, in seconds {default}")
    parser.add_argument("--quick", action="store_true", help="tiny, on tones, nothing written: does it run?")
    parser.add_argument("overrides", nargs="*", help="of our recipe")
    return parser.parse_args()


def run(given: argparse.Namespace, work: Path) -> None:
    """Train, score and time; print, and write unless it is quick."""
    torch.set_num_threads(given.threads)
    require_all()
    bench = prepare(given, work)
    trainings, rows = bench.train(), bench.metric()
    bench.time(rows)
    where = environment.describe(given.device) | {name: version(name) for name in bench.packages}
    text = vocoder_report.page(rows, trainings, where, bench.how(), bench.notes())
    print(f"\n{text}")
    if not given.quick:
        vocoder_report.write(rows, trainings, where, bench.settings(), text, given.out)
        print(f"written: {given.out}/vocoder.md, .json")


def main() -> None:
    """The bench, or one line about what is wrong."""
    given = arguments()
    try:
        if given.speed:
            vocoder_speed.run(given.speed, sorted({1, given.threads}), given.lengths)
        elif given.quick:
            with tempfile.TemporaryDirectory() as folder:
                run(given, Path(folder))
        else:
            run(given, given.work)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
