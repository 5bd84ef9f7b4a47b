"""Restoration: a restorer beside simple baselines, on held-out clips with noise, clipping and gaps.

`python bench/restoration.py --model restore-speech --data data/asterisk-en data/kokoro-unseen --unseen
data/kokoro-unseen --noises data/sounds-all --voices data/fillets-cs` degrades clips, restores them by each system and
scores them: SDR of all samples, of gaps in these alone, SI-SDR of noise, PESQ-WB, DNSMOS of noise, word errors of
Whisper tiny.en. Noise is recorded (of held-out clips of `--noises`), the babble of four voices, pink, or white with a
changing level, in turn. Spectral gating is the package noisereduce.

Rows that are in the record are not computed again, those of a model that has changed are. Writes
`bench/results/restoration.md` and `.json`.
"""

import argparse
import json
from collections.abc import Callable
from math import ceil
from pathlib import Path

import numpy as np
import torch
from restoration_cases import BASELINES, RATE, Case, clipped, network, with_gaps, with_noise
from torch import Tensor

from audiodiff.audio.spectral import si_sdr
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Manifest
from audiodiff.data.noises import Noises
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import choose
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.files import write_text
from audiodiff.metrics import METRICS
from audiodiff.pipelines.restorer import Restorer

RESULTS = Path(__file__).parent / "results"
HELD_OUT = ("validation", "test")
UNTOUCHED = "degraded"
COLUMNS = {"sdr": "SDR (dB)", "si_sdr": "SI-SDR (dB)", "pesq": "PESQ-WB", "dnsmos": "DNSMOS", "wer": "word errors (%)"}
# By kind, the degradations, and those whose words are counted.
DEGREES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "noise": ((0.0, 10.0, 20.0), (0.0, 10.0)),
    "clipping": ((0.1, 0.3), (0.1,)),
    "gaps": ((0.02, 0.05, 0.1), (0.05,)),
}
TITLES = {
    "noise": "Noise, {:g} dB",
    "clipping": "Clipping at {:g} of the peak",
    "gaps": "Gaps of {:g} s, one in each 0.4 s",
}


def main() -> None:
    """Score what the record lacks, and write it and the tables."""
    arguments = _arguments()
    path = RESULTS / arguments.name
    record = json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").exists() else {"rows": {}}
    restorer = None if arguments.model is None else Restorer.from_pretrained(arguments.model)
    clips = list(_clips(arguments))
    noises = Noises(arguments.noises, RATE, HELD_OUT, permissive=True), Noises(arguments.voices, RATE)
    for kind, (degrees, spoken) in DEGREES.items():
        systems: dict[str, Callable[[Case], Tensor]] = {UNTOUCHED: lambda case: case.signal} | BASELINES[kind]
        for degree in degrees:
            cases = [_case(kind, clip, degree, number, noises) for number, (clip, _) in enumerate(clips)]
            own = {} if restorer is None else {f"network {restorer.model_hash[:12]}": network(restorer, kind)}
            for name, system in (systems | own).items():
                key = f"{kind} {degree:g}, {name}"
                if key not in record["rows"]:
                    record["rows"][key] = _score(kind, clips, cases, system, degree in spoken)
                    print(key, record["rows"][key], flush=True)
                    record["environment"] = environment.describe()
                    write_text(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    recordings = "recordings"
    if recordings not in record["rows"]:
        row = _score("noise", clips, [Case(clip) for clip, _ in clips], lambda case: case.signal, True)
        record["rows"][recordings] = {name: value for name, value in row.items() if "sdr" not in name}
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    write_text(path.with_suffix(".md"), _page(record, len(clips), arguments, restorer))


def _clips(arguments: argparse.Namespace):
    """Held-out clips (T,) and their texts."""
    for folder in arguments.data:
        manifest = Manifest.load(folder)
        splits = ("train", *HELD_OUT) if folder in arguments.unseen else HELD_OUT
        found = [clip for clip in choose(manifest, splits, None)[0] if 1.5 < clip.seconds < 7]
        for clip in found[: arguments.limit]:
            yield read_crop(manifest, clip, RATE, 0, ceil(clip.seconds * RATE)).clamp(-1, 1), clip.text


def _case(kind: str, clip: Tensor, degree: float, number: int, noises: tuple[Noises, Noises]) -> Case:
    if kind == "noise":
        return with_noise(clip, degree, number, *noises)
    return clipped(clip, degree) if kind == "clipping" else with_gaps(clip, degree, number)


def _score(
    kind: str, clips: list[tuple[Tensor, str]], cases: list[Case], system: Callable[[Case], Tensor], spoken: bool
) -> dict[str, list[float]]:
    """Mean and interval by metric."""
    names = ["pesq", *["dnsmos"] * (kind == "noise"), *["wer"] * spoken]
    scores: dict[str, list[float]] = {name: [] for name in ("sdr", "si_sdr", *names)}
    weights = []
    for (clip, text), case in zip(clips, cases, strict=True):
        output = system(case)
        error, inside = (output - clip)[case.region], clip[case.region]
        scores["sdr"].append(10 * float(torch.log10(inside.square().sum() / error.square().sum().clamp(min=1e-12))))
        scores["si_sdr"].append(float(si_sdr(output, clip)))
        for name in names:
            scores[name].append(METRICS[name](clip.numpy(), output.numpy(), RATE, text))
        weights.append(METRICS["wer"].weight(clip.numpy(), RATE, text))
    if kind != "noise":
        del scores["si_sdr"]
    found = {}
    for name, values in scores.items():
        interval = bootstrap(np.array(values), np.array(weights) if name == "wer" else None)
        found[name] = [interval.mean, interval.low, interval.high, interval.clips]
    return found


def _page(record: dict, clips: int, arguments: argparse.Namespace, restorer: Restorer | None) -> str:
    facts = record["environment"]
    lines = ["# Restoration", "", f"{clips} clips of {', '.join(Path(one).name for one in arguments.data)}; means with"]
    lines += ["their 95 % intervals over clips.", ""]
    for kind, (degrees, _) in DEGREES.items():
        for degree in degrees:
            title, prefix = TITLES[kind].format(degree), f"{kind} {degree:g}, "
            rows = {key.removeprefix(prefix): row for key, row in record["rows"].items() if key.startswith(prefix)}
            ours = None if restorer is None else f"network {restorer.model_hash[:12]}"
            rows = {name: row for name, row in rows.items() if not name.startswith("network") or name == ours}
            if kind == "noise":
                rows["recordings"] = record["rows"]["recordings"]
            columns = [name for name in COLUMNS if name in rows[UNTOUCHED]]
            lines += [f"## {title}", "", "| | " + " | ".join(COLUMNS[name] for name in columns) + " |"]
            lines.append("|---|" + "--:|" * len(columns))
            for name, row in rows.items():
                cells = [_cell(column, row) for column in columns]
                shown = f"**{arguments.title}**" if name.startswith("network") else name
                lines.append(f"| {shown} | " + " | ".join(cells) + " |")
            lines.append("")
    lines.append(", ".join(f"{name}: {value}" for name, value in facts.items() if value is not None))
    return "\n".join(lines) + "\n"


def _cell(column: str, row: dict[str, list[float]]) -> str:
    if column not in row:
        return "–"
    interval = Interval(*row[column][:3], int(row[column][3]))
    decimals = 1 if column in ("wer", "sdr", "si_sdr") else 2
    mean, low, high = (f"{value:.{decimals}f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="checkpoint folder, or name of a shipped model; without it: baselines alone")
    parser.add_argument("--title", default="restore-speech", help="of the model's row")
    parser.add_argument("--data", nargs="+", required=True, help="prepared data with held-out clips")
    parser.add_argument(
        "--unseen", nargs="*", default=[], help="those of --data whose training clips are held out, too"
    )
    parser.add_argument("--noises", nargs="+", required=True, help="prepared data, whose held-out clips are noise")
    parser.add_argument("--voices", nargs="+", required=True, help="prepared data of voices that are babble")
    parser.add_argument("--limit", type=int, default=12, help="clips of each data")
    parser.add_argument("--name", default="restoration", help="of the files in bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
