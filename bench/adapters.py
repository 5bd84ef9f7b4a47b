"""What a dozen recordings teach a model, by each way to adapt it: similarity, distance, size, forgetting, variety.

    python bench/adapters.py --data data/sounds-all --word footsteps --out runs/adapters --minutes 5

Of the recordings whose captions have the word, or whose names have the text of `--pack`, twelve are trained on, the
others are held out; the model must not have been trained on any of them. Every method gets the same processor time, so
that what else the machine does is no part of the comparison. Clips are generated from the caption that was trained, and
compared with the held-out recordings. Rows of a results.json that exists stay; `--name NAME` writes all rows to
`bench/results/adapters_NAME.md`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from clip_copies import copy_clips
from lightning.pytorch.callbacks import timer

from audiodiff import config, train
from audiodiff.audio.io import read
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.clip_features import ClipFeatures
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics.distribution import frechet, nearest
from audiodiff.models.checkpoint import locate
from audiodiff.pipelines.adapter_predictor import AdapterPredictor, card
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.seeds import clip_seeds

RESULTS = Path(__file__).parent / "results"
TRAINED_ON = 12
RARE, NEW, GENERIC = "zvk", "<my-sound>", "a sound"  # the last is the caption that hypernetworks are trained with
COMMON = ("+recipe=sounds", "data.balance=null", "data.workers=0", "logger=null", "lr_schedule.warmup_steps=10")
REPLAY = ("data.replay=base:0.5",)
MEASURE = ("data.replay=base:0",)
PREDICTED = "hypernetwork"  # predicted without training
METHODS: dict[str, tuple[str, ...]] = {
    PREDICTED: (),
    f"{PREDICTED} and LoRA": ("adapter=lora", "optimizer.lr=1e-3", *MEASURE),
    "LoRA": ("adapter=lora", "optimizer.lr=1e-3", *MEASURE),
    "new word": ("adapter=word", "adapter.tokens=4", "optimizer.lr=2e-2", *MEASURE),
    "DreamBooth": ("optimizer.lr=2e-4", *REPLAY),
    "attention and output": ("trainable=[attention,output]", "optimizer.lr=5e-4", *MEASURE),
    "all weights": ("optimizer.lr=2e-4", *MEASURE),
}

# Headings and forms of figures in reports.
COLUMNS = {
    "loss": ("loss", "{:.4f}"),
    "caption": ("similarity to the caption", "{:.3f}"),
    "similarity": ("similarity", "{:.3f}"),
    "frechet": ("Frechet distance", "{:.0f}"),
    "variety": ("variety", "{:.0f}"),
    "nearest": ("nearest training clip", "{:.0f}"),
    "steps": ("steps", "{:.0f}"),
    "processor_seconds": ("processor seconds", "{:.0f}"),
    "bytes": ("bytes", "{:,}"),
    "forgetting": ("forgetting", "{:+.1%}"),
}
TEXT = """# Ways to adapt {base} to {count} recordings of {subject}

`{command}`

{facts}

{generated} clips of each row, of the lengths of the {held_out} held-out recordings in turn, which they are compared
with. Similarity: mean cosine of generated and held-out clips by `audio-text`. Frechet distance, variety (mean distance
between two clips) and the distance to the nearest training clip are of timbre features. Forgetting: change of the loss
on held-out clips that the base generates. One run each, no listening test.

{table}
"""


def subset(data: Path, word: str, folder: Path, caption: str, pack: str = "") -> Manifest:
    """The recordings of a word or pack, every other one trained on, as a manifest of their own."""
    whole = Manifest.load(data)
    belongs = (lambda clip: pack in clip.id) if pack else (lambda clip: word in clip.caption.split())
    chosen = sorted(filter(belongs, whole.clips), key=lambda clip: clip.id)
    trained = {clip.id for clip in chosen[::2][:TRAINED_ON]}

    def copy(number: int, clip: Clip) -> Clip:
        split = "train" if clip.id in trained else "validation" if number < 4 else "test"
        return replace(clip, id=f"{number:03d}", split=split, caption=caption, caption_parts=(), piece="")

    return copy_clips(((whole.path(clip), copy(number, clip)) for number, clip in enumerate(chosen)), folder)


def recordings(manifest: Manifest, rate: int, *splits: str) -> list[np.ndarray]:
    """Recordings (1, T) at a rate."""
    clips = manifest.with_splits(*splits)
    return [read(manifest.path(clip), rate, channels=1).samples.reshape(1, -1).numpy() for clip in clips.clips]


def measure(clips: list[np.ndarray], held_out: list[np.ndarray], known: list[np.ndarray], rate: int, embedder) -> dict:
    """Figures of generated clips: closeness to held-out recordings, variety, and the nearest trained-on one."""
    one, other, trained = (ClipFeatures.extract(each, rate).embeddings for each in (clips, held_out, known))
    own, target = (_embed(embedder, each, rate) for each in (clips, held_out))
    pairs = one[:, None] - one[None]
    return {
        "similarity": float((own @ target.T).mean()),
        "frechet": float(frechet(one, other)),
        "variety": float(np.linalg.norm(pairs, axis=-1).sum() / (len(one) * (len(one) - 1))),
        "nearest": float(nearest(one, trained)[0].mean()),
    }


def generate(
    generator: AudioGenerator, prompt: str, lengths: Sequence[float], adapters: Sequence[Path] = ()
) -> list[np.ndarray]:
    """Clips (1, T) of the lengths of held-out recordings: silence behind a sound would count as timbre."""
    made = []
    for seconds, seed in zip(lengths, clip_seeds(0, len(lengths)), strict=True):
        clip = generator.generate(prompt=prompt, clip_seeds=[seed], seconds=seconds, adapters=adapters)
        made.append(clip.samples[0].numpy())
    return made


def _embed(embedder: AudioTextEmbedder, clips: list[np.ndarray], rate: int) -> torch.Tensor:
    """Unit vectors (N, D) of clips by the audio side of an audio-text pair."""
    with torch.no_grad():
        found = torch.stack([embedder.model.embed_audio(torch.from_numpy(clip)[None], rate)[0] for clip in clips])
    return found / found.norm(dim=1, keepdim=True)


def format_table(results: dict[str, dict[str, float]]) -> str:
    """A table with a line for each result, of the figures that any of them has."""
    names = [name for name in COLUMNS if any(name in figures for figures in results.values())]
    lines = [f"| | {' | '.join(COLUMNS[name][0] for name in names)} |", f"|---{'|--:' * len(names)}|"]
    for row, figures in results.items():
        cells = [COLUMNS[name][1].format(figures[name]) if name in figures else "" for name in names]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_report(results: dict, chosen: argparse.Namespace, held_out: int) -> None:
    """Write bench/results/adapters_NAME.md."""
    subject = chosen.pack or chosen.word
    command = f"python bench/adapters.py --data data/{chosen.data.name} --word {chosen.word}"
    command += f" --pack {chosen.pack}" if chosen.pack else ""
    text = TEXT.format(
        base=chosen.base, count=TRAINED_ON, subject=subject, command=f"{command} --minutes {chosen.minutes:g}",
        facts=format_facts(environment.describe("cpu")), generated=chosen.count, held_out=held_out,
        table=format_table(results),
    )  # fmt: skip
    write_text(RESULTS / f"adapters_{chosen.name}.md", text)


def predict(hypernetwork: str, manifest: Manifest, folder: Path) -> dict:
    """Predict an adapter of the recordings that are trained on; its size and time."""
    started = time.process_time()
    predictor = AdapterPredictor.from_pretrained(hypernetwork)
    adapter = predictor.predict([manifest.path(clip) for clip in manifest.with_splits("train").clips])
    adapter.save(folder, card(adapter))
    size = (folder / "adapter.safetensors").stat().st_size
    return {"bytes": size, "steps": 0, "processor_seconds": time.process_time() - started}


def base_loss(manifest: Manifest, out: Path, base: str, adapter: Path | None = None) -> float:
    """Loss on held-out clips that the base generates, of the base or with an adapter."""
    words = ("adapter=lora", *MEASURE, f"data.path={manifest.root}", f"init_from={base}", "trainer.max_steps=1")
    words += ("trainer.max_time=null", "callbacks.samples.clips=1", f"folder={out}", "optimizer.lr=1e-30")
    words += () if adapter is None else (f"adapter.init_from={adapter}",)
    train.run(config.compose([*COMMON, *words]), out)
    return json.loads((out / "forgetting.json").read_text())["before"]


def adapt(method: str, manifest: Manifest, out: Path, base: str, minutes: float) -> tuple[Path, dict]:
    """Train by a method; the folder of the adapter or model, and its record."""
    folder, words = out / method.replace(" ", "_"), METHODS[method]
    if method.startswith(PREDICTED):
        words += (f"adapter.init_from={out / PREDICTED}",)
    word = ('adapter.word="<my-sound>"',) if method == "new word" else ()
    caption = NEW if word else GENERIC if method.startswith(PREDICTED) else f"{RARE} sound"
    limits = (f"trainer.max_time={{seconds: {round(60 * minutes)}}}", "trainer.val_check_interval=200")
    own = (f"data.path={manifest.root}", f'data.caption="{caption}"', f"init_from={base}", f"folder={folder}")
    started = time.process_time()
    train.run(config.compose([*COMMON, *words, *word, *own, *limits]), folder)
    exported = folder / ("adapter" if "adapter=" in " ".join(words) else "model")
    record = json.loads((exported / ("adapter.json" if exported.name == "adapter" else "config.json")).read_text())
    size = sum(file.stat().st_size for file in exported.glob("*.safetensors"))
    loss = record["training"]["forgetting"]["after"]
    figures = {"bytes": size, "steps": record["training"]["steps"], "base_loss": loss}
    return exported, figures | {"processor_seconds": time.process_time() - started, "caption": caption}


def main() -> None:
    """Adapt by every method, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--word", default="footsteps", help="of captions, and the prompt for the base")
    parser.add_argument("--pack", default="", help="part of the names of recordings, instead of the word")
    parser.add_argument("--out", type=Path, default=Path("runs/adapters"))
    parser.add_argument("--base", default="sounds")
    parser.add_argument("--hypernetwork", help="folder of one, for the methods of it")
    parser.add_argument("--minutes", type=float, default=5.0, help="processor time of each method")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--name", help="of a report in bench/results")
    parser.add_argument("--suffix", default="", help="of the names of the rows, such as the minutes")
    chosen = parser.parse_args()
    timer.time = SimpleNamespace(monotonic=time.process_time)  # trainer.max_time is of processor time
    manifest = subset(chosen.data, chosen.word, chosen.out / "data", f"{RARE} sound", chosen.pack)
    generator, embedder = AudioGenerator.from_pretrained(chosen.base), AudioTextEmbedder.from_pretrained("audio-text")
    rate = generator.sample_rate
    held_out, known = recordings(manifest, rate, "test", "validation"), recordings(manifest, rate, "train")
    file = chosen.out / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    if "trained on" not in results:
        results["recordings, half"] = measure(held_out[::2], held_out[1::2], known, rate, embedder)
        results["trained on"] = measure(known, held_out, known, rate, embedder)
    size = (locate(chosen.base) / "model.safetensors").stat().st_size
    lengths = list(islice(cycle(clip.shape[-1] / rate for clip in held_out), chosen.count))
    if "base" not in results:
        clips = generate(generator, chosen.word, lengths)
        loss = base_loss(manifest, chosen.out / "base", chosen.base)
        results["base"] = measure(clips, held_out, known, rate, embedder) | {"bytes": size, "base_loss": loss}
    if f"base, {GENERIC}" not in results:  # what the caption of hypernetworks says by itself
        results[f"base, {GENERIC}"] = measure(generate(generator, GENERIC, lengths), held_out, known, rate, embedder)
    for method in chosen.methods:
        if method == PREDICTED:
            exported, caption = chosen.out / PREDICTED, GENERIC
            figures = predict(chosen.hypernetwork, manifest, exported)
            figures["base_loss"] = base_loss(manifest, chosen.out / "predicted", chosen.base, exported)
        else:
            exported, figures = adapt(method, manifest, chosen.out, chosen.base, chosen.minutes)
            caption = figures.pop("caption")
        own = exported.name == "model"
        maker = AudioGenerator.from_pretrained(exported) if own else generator
        clips = generate(maker, caption, lengths, [] if own else [exported])
        figures["forgetting"] = figures.pop("base_loss") / results["base"]["base_loss"] - 1
        row = method + chosen.suffix
        results[row] = measure(clips, held_out, known, rate, embedder) | figures
        write_text(file, json.dumps(results, indent=2) + "\n")
        print(row, results[row], flush=True)
    if chosen.name:
        write_report(results, chosen, len(held_out))
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
