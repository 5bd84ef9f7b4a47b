"""Three subjects taught one after the other: what each costs those before it, and what the model knew.

    python bench/continual.py --data data/sounds-all --subjects footsteps pack:circAfrique scream --out runs/continual

A subject is the recordings whose captions have a word, or whose names have the text after `pack:`; twelve are trained
on, the others held out. After each stage the denoising loss is measured on held-out recordings of every subject, those
to come included, and on held-out clips that the base generates, always with the same noise. All weights are trained,
with and without replay (half of the crops are those of earlier subjects and of clips that the base generates); or an
adapter for each subject, used for that subject alone. Every stage gets the same processor time.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from adapters import COMMON, subset
from clip_copies import copy_clips
from lightning.pytorch.callbacks import timer

from audiodiff import config, train
from audiodiff.conditioners.conditioner import without_weights
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.files import write_text
from audiodiff.models import adapter
from audiodiff.models.adapted import AppliedAdapter, apply
from audiodiff.models.audio_model import AudioModel
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.latents import LatentData
from audiodiff.training.replay import BASE, replay_manifest
from audiodiff.training.tasks.denoising import DenoisingTask

RARE = ("zvk", "qxo", "vrb", "jfn", "wpt")
KNOWN = "what the base knew"
REPEATS = 4  # of the noise of a measurement
QUICK = (*COMMON, "callbacks.samples.clips=1", "callbacks.samples.steps=2", "trainer.val_check_interval=100000")
METHODS: dict[str, tuple[str, ...]] = {
    "all weights": ("optimizer.lr=2e-4",),
    "all weights, replay": ("optimizer.lr=2e-4",),
    "an adapter each": ("adapter=lora", "optimizer.lr=1e-3"),
}


def recordings(data: Path, wanted: str, folder: Path, number: int) -> Manifest:
    """The recordings of a subject with a caption of its own; those that are not trained on are all held out."""
    pack = wanted.removeprefix("pack:") if wanted.startswith("pack:") else ""
    found = subset(data, wanted, folder, f"{RARE[number]} sound", pack)
    clips = tuple(replace(clip, split="train" if clip.split == "train" else "validation") for clip in found.clips)
    made = Manifest(clips, folder)
    made.save()
    return made


def joined(manifests: list[Manifest], folder: Path) -> Manifest:
    """Copies of the clips of several manifests in one folder."""

    def copy(number: int, clip: Clip) -> Clip:
        return replace(clip, id=f"{number}-{Path(clip.path).stem}", content=f"{number}-{clip.content}")

    pairs = ((number, manifest, clip) for number, manifest in enumerate(manifests) for clip in manifest.clips)
    return copy_clips(((manifest.path(clip), copy(number, clip)) for number, manifest, clip in pairs), folder)


def loss(model: AudioModel, manifest: Manifest, base: str) -> float:
    """Denoising loss on the held-out clips of a manifest."""
    data = LatentData(
        str(manifest.root),
        *(model.sample_rate, model.samples, 16),
        codec=base,
        channels=1,
        from_start=True,
        scalars=["seconds"],
    )
    data.conditioners = without_weights(model.conditioners)
    data.setup("fit")
    batch = data.held_out.collate([data.held_out[draw] for draw in data.held_out.one_draw_per_clip(64)])
    with torch.no_grad():
        found = [DenoisingTask().loss(model.eval(), batch, BatchRandom(seed))["loss"] for seed in range(REPEATS)]
    return float(torch.stack(found).mean())


def stage(words: tuple[str, ...], manifest: Manifest, folder: Path, start: str, minutes: float) -> Path:
    """Train on a subject; the folder of what is exported."""
    limits = (f"trainer.max_time={{seconds: {round(60 * minutes)}}}", f"data.path={manifest.root}")
    composed = config.compose([*QUICK, *words, *limits, f"init_from={start}", f"folder={folder}"])
    train.run(composed, folder)
    return folder / ("adapter" if "adapter=lora" in words else "model")


def run(method: str, subjects: dict[str, Manifest], known: Manifest, chosen: argparse.Namespace) -> list[dict]:
    """Losses on every subject, and on what the base knew, after each stage."""
    base, current = AudioModel.from_pretrained(chosen.base).requires_grad_(False), str(chosen.base)
    measured = {KNOWN: known} | subjects
    owned: dict[str, AudioModel] = {}
    rows = []
    for number, (name, manifest) in enumerate(subjects.items()):
        folder, words = chosen.out / method.replace(" ", "_").replace(",", "") / str(number), METHODS[method]
        if method.endswith("replay"):
            earlier = joined([known, *list(subjects.values())[:number]], folder / "replay")
            words += (f"data.replay={earlier.root}:0.5",)
        exported = stage(words, manifest, folder, current, chosen.minutes)
        if exported.name == "adapter":
            owned[name] = apply(base, [AppliedAdapter(adapter.load(exported))])
            models = {one: owned.get(one, base) for one in measured}
        else:
            current = str(exported)
            tuned = AudioModel.from_pretrained(exported).requires_grad_(False)
            models = dict.fromkeys(measured, tuned)
        rows.append({one: loss(models[one], measured[one], chosen.base) for one in measured})
        print(method, name, rows[-1], flush=True)
    return rows


def table(results: dict) -> str:
    """Losses after each stage, as a Markdown table; changes are against the base."""
    base = results["base"]
    lines = [f"| | {' | '.join(base)} |", f"|---|{'--:|' * len(base)}", _line("base", base)]
    for method, rows in results.items():
        if method == "base":
            continue
        for subject, row in zip([name for name in base if name != KNOWN], rows, strict=True):
            lines.append(_line(f"{method}, after {subject}", row))
    return "\n".join(lines) + "\n"


def _line(name: str, row: dict) -> str:
    return f"| {name} | {' | '.join(f'{value:.4f}' for value in row.values())} |"


def main() -> None:
    """Teach the subjects by every method and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--subjects", nargs="+", default=["footsteps", "pack:circAfrique", "scream"])
    parser.add_argument("--out", type=Path, default=Path("runs/continual"))
    parser.add_argument("--base", default="sounds")
    parser.add_argument("--minutes", type=float, default=5.0, help="processor time of each stage")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    chosen = parser.parse_args()
    timer.time = SimpleNamespace(monotonic=time.process_time)  # trainer.max_time is of processor time
    subjects = {
        name: recordings(chosen.data, name, chosen.out / "data" / str(number), number)
        for number, name in enumerate(chosen.subjects)
    }
    known = replay_manifest(BASE, chosen.base, chosen.out / "data", (), 64)
    base = AudioModel.from_pretrained(chosen.base).requires_grad_(False)
    file = chosen.out / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    measured = {KNOWN: known} | subjects
    results["base"] = {name: loss(base, manifest, chosen.base) for name, manifest in measured.items()}
    for method in chosen.methods:
        results[method] = run(method, subjects, known, chosen)
        write_text(file, json.dumps(results, indent=2) + "\n")
        write_text(chosen.out / "table.md", table(results))
    print(table(results))


if __name__ == "__main__":
    main()
