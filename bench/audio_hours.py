"""Quality of a vocoder against the hours of audio that it was trained on, from the exports of its history.

`python bench/audio_hours.py runs/speech_mel_long/DATE_TIME --data data/asterisk-it` resynthesizes the same held-out
clips with every export in `history/`, by the network alone and followed by mel consistency, for each of `--steps`, and
scores them by PESQ-WB. It writes `audio_hours.md` and `audio_hours.png` to `--out`: the scores against the hours of
audio seen (a clip that is seen twice counts twice), and the gain per doubling, the slope of a line through the scores
over the logarithm of the hours, with the 95 % interval of resampled clips. Several runs are one curve, where each
started from the weights of the one before. Scores are saved in `audio_hours.json` there: another call scores only new
exports.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiodiff.audio.io import Audio
from audiodiff.data.dataset import ClipDataset
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.evaluation.held_out import choose, clip_list_hash
from audiodiff.files import write_text
from audiodiff.metrics import METRICS
from audiodiff.models.training_record import training_stages
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.training.export import HISTORY

RESAMPLES = 1000


def hours_seen(training: dict) -> float:
    """Hours of audio that a model was trained on, those of the weights that it started from included."""
    return sum(record.get("audio_hours", 0.0) for part, record in training_stages(training) if not part)


def scores(vocoder: Vocoder, manifest: Manifest, clips: Sequence[Clip], steps: int, iterations: int) -> list[float]:
    """PESQ-WB of each clip, by the model's own sampler, or DDIM where that one needs more steps."""
    found, sampler = [], vocoder.model.sampler
    if steps < presets.PRESETS[sampler].min_nfe:
        sampler = "ddim"
    for clip in clips:
        waveform = ClipDataset(Manifest((clip,), manifest.root), vocoder.sample_rate)[0]["waveform"]
        recording = Audio(waveform, vocoder.sample_rate)
        seeds = [clip_seed(0, clip.id)]
        options = {"sampler": sampler, "consistency": iterations, "clip_seeds": seeds}
        output = vocoder.resynthesize(recording, steps=steps, **options)
        reference = waveform.numpy()[: output.samples.shape[-1]]
        found.append(METRICS["pesq"](reference, output.samples.numpy()[: len(reference)], vocoder.sample_rate))
    return found


def per_doubling(hours: Sequence[float], clip_scores: np.ndarray) -> tuple[float, float, float]:
    """Gain in the mean score per doubling of the hours, and its 95 % interval over resampled clips.

    Args:
        hours: (E,) of each export.
        clip_scores: (E, N) of each clip, without NaN.
    """
    octaves = np.log2(hours)
    octaves = octaves - octaves.mean()
    slopes = octaves @ clip_scores / np.square(octaves).sum()  # of each clip: their mean is that of the means
    chosen = np.random.default_rng(0).integers(len(slopes), size=(RESAMPLES, len(slopes)))
    low, high = np.quantile(slopes[chosen].mean(1), (0.025, 0.975))
    return float(slopes.mean()), float(low), float(high)


def measure(runs: Sequence[Path], data: str, clips: int, steps: Sequence[int], iterations: int, out: Path) -> dict:
    """Scores of all exports of runs, those that it has none of computed and saved in `out`.

    Raises:
        UserError: a run has no history, or the scores there are of other clips.
    """
    exports = [folder for run in runs for folder in sorted((run / HISTORY).glob("step_*"))]
    for run in runs:
        if not any((run / HISTORY).glob("step_*")):
            raise UserError(run, "has kept no exports", "train with callbacks.samples.history=60, for an hour or more")
    manifest = Manifest.load(data)
    chosen, _ = choose(manifest, limit=clips)
    store, digest = out / "audio_hours.json", clip_list_hash(chosen)
    record = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {"clips": digest, "exports": {}}
    if record["clips"] != digest:
        raise UserError(store, f"has scores of other clips than {data}", "move it away to score these")
    for folder in exports:
        vocoder = Vocoder.from_pretrained(folder)
        export = f"{folder.parents[1].name}/{folder.name}"
        of_export = record["exports"].setdefault(export, {"hours": hours_seen(vocoder.training), "scores": {}})
        for count in steps:
            for name, number in ((f"{count} alone", 0), (f"{count} + {iterations} iterations", iterations)):
                if name not in of_export["scores"]:
                    print(f"{export}: {name}", flush=True)
                    of_export["scores"][name] = scores(vocoder, manifest, chosen, count, number)
        write_text(store, json.dumps(record) + "\n")
    return record


def curves(record: dict) -> dict[str, tuple[list[float], np.ndarray]]:
    """Hours (E,) and scores (E, N) by setting, in the order of the hours; clips without a score somewhere left out."""
    exports = sorted(record["exports"].values(), key=lambda one: one["hours"])
    found = {}
    for name in exports[0]["scores"]:
        table = np.array([one["scores"][name] for one in exports if name in one["scores"]], dtype=float)
        hours = [one["hours"] for one in exports if name in one["scores"]]
        found[name] = hours, table[:, np.isfinite(table).all(0)]
    return found


def page(record: dict, data: str) -> str:
    """Format a Markdown page."""
    found = curves(record)
    lines = [
        "# PESQ-WB by hours of audio seen",
        "",
        f"Held-out clips of {data} (list SHA-256 `{record['clips']}`).",
        "",
    ]
    lines += ["| hours | " + " | ".join(f"{name.replace(' ', ' step(s) ', 1)}" for name in found) + " |"]
    lines += ["|--:" * (1 + len(found)) + "|"]
    hours = sorted({hour for of, _ in found.values() for hour in of})
    for hour in hours:
        cells = [f"{table[of.index(hour)].mean():.3f}" if hour in of else "" for of, table in found.values()]
        lines.append(f"| {hour:.2f} | " + " | ".join(cells) + " |")
    if len(hours) > 1:
        gains = [per_doubling(of, table) if len(of) > 1 else (math.nan,) * 3 for of, table in found.values()]
        cells = [f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]" for gain, low, high in gains]
        lines.append("| per doubling | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(record: dict, path: Path) -> None:
    """Write a figure: mean scores over the hours, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (hours, table) in curves(record).items():
        style = "--" if name.endswith("alone") else "-"
        axes.plot(hours, table.mean(1), style, marker="o", markersize=3, label=name.replace(" ", " step(s) ", 1))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("hours of audio seen")
    axes.set_ylabel("PESQ-WB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    """Score, write; errors are one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("runs", type=Path, nargs="+", metavar="run", help="folders of runs, in order")
    parser.add_argument("--out", type=Path, help="folder of the results (default: that of the last run)")
    parser.add_argument("--data", default="data/asterisk-it", help=f"folder of a corpus that it never saw {default}")
    parser.add_argument("--clips", type=int, default=30, help=f"maximum number of held-out clips {default}")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4], help=f"sampling steps {default}")
    parser.add_argument("--iterations", type=int, default=16, help=f"of mel consistency {default}")
    given = parser.parse_args()
    out = given.out or given.runs[-1]
    try:
        record = measure(given.runs, given.data, given.clips, given.steps, given.iterations, out)
        text = page(record, given.data)
        write_text(out / "audio_hours.md", text)
        plot(record, out / "audio_hours.png")
    except UserError as error:
        sys.exit(f"error: {error}")
    print(text)


if __name__ == "__main__":
    main()
