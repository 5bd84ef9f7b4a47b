"""Is the tempo that is asked for the tempo that is measured?

`python bench/tempo.py --model music --data data/tunes` generates clips of evenly spaced tempi from 70 to 160 beats per
minute, at guidance 1, at the model's default and at other scales, and estimates the tempo of each (`metrics.tempo`):
the share within 4 % of the tempo that was asked for, and octave errors by their ratio. Beside them stand clips of the
same model without a tempo, to which the same tempi are assigned (chance), and held-out recordings of known tempo (what
the estimate can tell). How far off the beat clips are is the median distance of their onsets from the beats of that
tempo, the first of which is at 0 s. Intervals are 95 %, by bootstrap over clips. It writes
`bench/results/tempo_NAME.md`.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.evaluation import environment
from audiodiff.evaluation.generation_evaluation import load_segments
from audiodiff.evaluation.held_out import SPLITS
from audiodiff.evaluation.report import format_facts
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.files import write_text
from audiodiff.metrics import tempo
from audiodiff.metrics.rhythm import beat
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds

RESULTS = Path(__file__).parent / "results"
SLOWEST, FASTEST = 70.0, 160.0  # beats per minute
TEXT = """# Tempo of `{name}`, asked for and measured

`{command}`

{facts}

{clips} clips of {seconds:.0f} s per row, {steps} steps, of evenly spaced tempi from {slowest:g} to {fastest:g} BPM.

{table}
{notes}"""


@dataclass(frozen=True)
class Row:
    """Tempi of a set of clips.

    Attributes:
        wanted: BPM (N,).
        estimated: BPM (N,), NaN where there is none.
        pulse_clarity: as of `metrics.rhythm`, (N,).
        offset: seconds from the beats of the wanted tempo to those of the clips (N,).
    """

    wanted: np.ndarray
    estimated: np.ndarray
    pulse_clarity: np.ndarray
    offset: np.ndarray

    @classmethod
    def measure(cls, wanted: Sequence[float], clips: Iterable[np.ndarray], sample_rate: int) -> "Row":
        """Measure clips (C, T) that ought to have these tempi."""
        found = [
            (tempo.estimate(clip, sample_rate), beat(clip, sample_rate)[1], tempo.offset(clip, sample_rate, one))
            for one, clip in zip(wanted, clips, strict=True)
        ]
        return cls(np.array(wanted), *np.array(found).T)

    @property
    def ratios(self) -> list[float | None]:
        """As of `tempo.octave_error`, of each clip."""
        return [tempo.octave_error(*pair) for pair in zip(self.estimated, self.wanted, strict=True)]

    def format(self) -> list[str]:
        """Cells of a table."""
        exact = bootstrap(np.array([float(ratio == 1) for ratio in self.ratios]))
        octaves = bootstrap(np.array([float(ratio is not None) for ratio in self.ratios]))
        counts = [sum(ratio == one for ratio in self.ratios) for one in tempo.OCTAVES[1:]]
        return [
            *(f"{100 * one.mean:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})" for one in (exact, octaves)),
            *map(str, counts),
            f"{np.median(self.pulse_clarity):.2f}",
            f"{1000 * np.nanmedian(np.abs(self.offset)):.0f} ms",
        ]


def generate(
    generator: AudioGenerator, tempi: Sequence[float | None], labels: Sequence[str], seed: int, **options: Any
) -> Iterator[np.ndarray]:
    """Clips (C, T) of these tempi (None: not asked for), and of the labels in turn."""
    for number, (wanted, one) in enumerate(zip(tempi, clip_seeds(seed, len(tempi)), strict=True)):
        conditions: dict[str, Any] = {} if wanted is None else {"tempo": wanted}
        if labels:
            conditions["labels"] = [labels[number % len(labels)]]
        yield generator.generate(clip_seeds=[one], **options, **conditions).samples[0].numpy()


def recordings(generator: AudioGenerator, manifest: Manifest, limit: int) -> tuple[list[float], Iterator[np.ndarray]]:
    """Tempi and first segments of held-out recordings of known tempo, as long as the model's clips."""
    rate, samples = generator.sample_rate, generator.model.samples
    known: list[Clip] = [clip for clip in manifest.with_splits(*SPLITS).clips if SLOWEST <= clip.tempo <= FASTEST]
    long_enough = [clip for clip in known if clip.samples * rate >= samples * clip.sample_rate]
    chosen = sorted(long_enough, key=lambda clip: clip_seed(0, clip.id))[:limit]
    return [clip.tempo for clip in chosen], load_segments(manifest, [(clip, 0) for clip in chosen], generator)


def main(words: Sequence[str] | None = None) -> None:
    """Generate, measure and write the table."""
    options = parse(words)
    torch.set_num_threads(1)
    generator = AudioGenerator.from_pretrained(options.model)
    rate, name = generator.sample_rate, options.name or Path(options.model).name
    tempi = np.linspace(SLOWEST, FASTEST, options.clips).tolist()
    default = generator.model.guidance
    sets: dict[str, dict[str, Any]] = {"guidance 1": {"guidance_scale": 1.0}}
    if default is not None and default.scale != 1:
        sets[f"**guidance {default.scale:g}, the default**"] = {}
    sets |= {f"guidance {scale:g}": {"guidance_scale": scale} for scale in options.scales}
    own, length = (options.labels, options.seed), {"steps": options.steps, "seconds": options.seconds}
    unasked = generate(generator, [None] * len(tempi), *own, **length, guidance_scale=1.0)
    rows = {"no tempo asked for": Row.measure(tempi, unasked, rate)}
    for row, more in sets.items():
        rows[row] = Row.measure(tempi, generate(generator, tempi, *own, **length, **more), rate)
        print(row, rows[row].format(), flush=True)
    known, real = recordings(generator, Manifest.load(options.data), options.clips)
    rows[f"held-out recordings ({len(known)})"] = Row.measure(known, real, rate)
    header = ["", "within 4 %", "or a multiple", "double", "half", "triple", "third", "pulse clarity", "off the beat"]
    lines = [f"| {' | '.join(header)} |", f"|---|{'--:|' * (len(header) - 1)}"]
    lines += [f"| {row} | {' | '.join(found.format())} |" for row, found in rows.items()]
    given = [f"--{key} {' '.join(map(str, v)) if isinstance(v, list) else v}" for key, v in vars(options).items() if v]
    text = TEXT.format(
        name=name,
        command=f"python bench/tempo.py {' '.join(given)}",
        facts=format_facts(environment.describe("cpu") | {"model": generator.model_hash[:12]}),
        clips=options.clips,
        seconds=options.seconds or generator.model.samples / rate,
        steps=options.steps or generator.model.default_steps,
        slowest=SLOWEST,
        fastest=FASTEST,
        table="\n".join(lines),
        notes=f"\n{options.notes}\n" if options.notes else "",
    )
    write_text(RESULTS / f"tempo_{name}.md", text)
    print(text)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="music")
    parser.add_argument("--name", help="of the results (default: the model's)")
    parser.add_argument("--data", required=True, help="recordings of known tempo")
    parser.add_argument("--clips", type=int, default=91)
    parser.add_argument("--scales", type=float, nargs="*", default=[], help="other guidance scales")
    parser.add_argument("--labels", nargs="*", default=[], help="of the clips, in turn")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float, help="of the clips (default: the model's); longer ones take windows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--notes", default="", help="what the table shows")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
