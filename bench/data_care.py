"""What care for the data changes: each augmentation, balance, no duplicates, and no dropout of captions.

    python bench/data_care.py adapt --data data/sounds-all --word footsteps --out runs/data_care
    python bench/data_care.py train --data data/sounds --out runs/data_care

`adapt` teaches `sounds` twelve recordings of a kind of sound that it was not trained on (as `bench/adapters.py`), once
as they are and once with each effect. `train` trains a small model of sounds from the start, once as the recipe has it
and once for each of the other choices. Every run has the same number of steps. The loss is that on held-out recordings,
with the same noise for all runs; similarity and Frechet distance are of generated clips and held-out recordings.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from adapters import RARE, RESULTS, _embed, format_table, generate, measure, recordings, subset
from clip_copies import copy_clips

from audiodiff import config, train
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.seeds import clip_seeds

SOUND = ("augmentation=sound", "data.copies=16")
OFF = {
    name: f"data.augmentation.{name}=null" for name in ("speed", "equalization", "level", "polarity", "delay", "mixing")
}
EFFECTS = {
    "gain": "level",
    "filters": "equalization",
    "pitch": "speed",
    "time shift": "delay",
}
ROOM = "data.augmentation.room={_target_: audiodiff.data.augmentation.Room, probability: 0.5}"
ADAPT: dict[str, tuple[str, ...]] = {
    "as recorded": (),
    **{
        shown: (
            *SOUND,
            *(word for other, word in OFF.items() if other != name),
            f"data.augmentation.{name}.probability=0.5",
        )
        for shown, name in EFFECTS.items()
    },
    "rooms": (*SOUND, *OFF.values(), ROOM),
    "augmentation=sound": SOUND,
}
TEXT = """# What care for the data changes: {part}

`{command}`

{facts}

Figures as in `bench/data_care.py`; one run each, no listening test.

{table}
"""
COMMON = ("+recipe=sounds", "data.workers=0", "logger=null", "lr_schedule.warmup_steps=10", "data.batch_size=8")
SMALL = ("network.channels=[96,144]", "network.token_channels=96", "model.conditioners.prompt.token_channels=96")
TRAIN: dict[str, tuple[str, ...]] = {
    "the recipe": (),
    "without balance": ("data.balance=null",),
    "without duplicates": ("data.unique=true",),
    "without dropout of conditions": ("task.condition_dropout=0",),
    "augmentation=sound": ("augmentation=sound", "data.copies=4"),
    "mixing": ("augmentation=sound", "data.copies=4", *(word for name, word in OFF.items() if name != "mixing")),
}


def held_out_folder(manifest: Manifest, folder: Path) -> Path:
    """Held-out recordings as a manifest of their own; a run with `data.replay=FOLDER:0` measures half of them."""

    def copy(number: int, clip: Clip) -> Clip:
        split = ("validation", "train")[number % 2]
        return replace(clip, id=f"held-out/{number:04d}", split=split, content="", piece="")

    clips = enumerate(manifest.with_splits("validation", "test").clips)
    copy_clips(((manifest.path(clip), copy(number, clip)) for number, clip in clips), folder)
    return folder


def run(folder: Path, words: tuple[str, ...], steps: int) -> dict:
    """Train; the loss on held-out recordings before and after, and the processor time."""
    started = time.process_time()
    limits = (f"trainer.max_steps={steps}", "trainer.max_time=null", f"trainer.val_check_interval={steps}")
    train.run(config.compose([*COMMON, *words, *limits, f"folder={folder}"]), folder)
    found = json.loads((folder / "forgetting.json").read_text())
    return {"loss": found["after"], "before": found["before"], "seconds": time.process_time() - started}


def adapt(options: argparse.Namespace) -> dict:
    """Adapt `sounds` with each effect."""
    caption = f"{RARE} sound"
    manifest = subset(options.data, options.word, options.out / "data", caption)
    apart = held_out_folder(manifest, options.out / "held_out")
    generator, embedder = AudioGenerator.from_pretrained("sounds"), AudioTextEmbedder.from_pretrained("audio-text")
    rate, results = generator.sample_rate, _results(options)
    held_out, known = recordings(manifest, rate, "test", "validation"), recordings(manifest, rate, "train")
    lengths = [clip.shape[-1] / rate for clip in held_out][: options.count]
    words = ("init_from=sounds", "data.codec=sounds", "adapter=lora", "optimizer.lr=1e-3", "data.balance=null")
    words += (f"data.path={manifest.root}", f'data.caption="{caption}"', f"data.replay={apart}:0")
    for name, own in ADAPT.items():
        for seed in range(options.seeds):
            if (key := f"{name}, seed {seed}") in results:
                continue
            folder = options.out / "adapt" / f"{name.replace(' ', '_')}_{seed}"
            figures = run(folder, (*words, *own, f"seed={seed}"), options.steps)
            clips = generate(generator, caption, lengths, [folder / "adapter"])
            results[key] = measure(clips, held_out, known, rate, embedder) | figures
            _save(options, results)
            print(key, results[key], flush=True)
    return results


def train_small(options: argparse.Namespace) -> dict:
    """Train a small model of sounds with and without each care."""
    manifest = Manifest.load(options.data)
    apart = held_out_folder(manifest, options.out / "held_out_sounds")
    embedder, results = AudioTextEmbedder.from_pretrained("audio-text"), _results(options)
    test = [clip for clip in manifest.with_splits("test", "validation").clips if clip.caption][: options.count]
    for name, own in TRAIN.items():
        if name in results:
            continue
        folder = options.out / "train" / name.replace(" ", "_").replace("=", "_")
        words = (
            *SMALL,
            "data.codec=sounds",
            f"data.path={options.data}",
            f"data.replay={apart}:0",
            "data.batch_size=16",
        )
        figures = run(folder, (*words, *own), options.steps)
        maker = AudioGenerator.from_pretrained(folder / "model")
        rate, clips = maker.sample_rate, []
        for clip, seed in zip(test, clip_seeds(0, len(test)), strict=True):
            made = maker.generate(prompt=clip.caption, clip_seeds=[seed], seconds=min(clip.seconds, 2.9), steps=10)
            clips.append(made.samples[0].numpy())
        real = recordings(Manifest(tuple(test), manifest.root), rate, "test", "validation")
        known = recordings(Manifest(manifest.with_splits("train").clips[:200], manifest.root), rate, "train")
        own_caption = (_embed(embedder, clips, rate) * _texts(embedder, [clip.caption for clip in test])).sum(1)
        results[name] = measure(clips, real, known, rate, embedder) | figures | {"caption": float(own_caption.mean())}
        _save(options, results)
        print(name, results[name], flush=True)
    return results


def _texts(embedder: AudioTextEmbedder, captions: list[str]):
    found = embedder.model.embed_text(captions)
    return found / found.norm(dim=1, keepdim=True)


def _results(options: argparse.Namespace) -> dict:
    """Those of an interrupted call."""
    file = options.out / f"{options.part}.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _save(options: argparse.Namespace, results: dict) -> None:
    write_text(options.out / f"{options.part}.json", json.dumps(results, indent=2) + "\n")


def main() -> None:
    """Train all runs and write their figures to OUT/PART.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["adapt", "train"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--word", default="footsteps")
    parser.add_argument("--out", type=Path, default=Path("runs/data_care"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    results = {"adapt": adapt, "train": train_small}[chosen.part](chosen)
    command = f"python bench/data_care.py {chosen.part} --data data/{chosen.data.name} --steps {chosen.steps}"
    text = TEXT.format(
        part=chosen.part, command=f"{command} --count {chosen.count}", facts=format_facts(environment.describe("cpu")),
        table=format_table(results),
    )  # fmt: skip
    write_text(RESULTS / f"data_care_{chosen.part}.md", text)
    print(text)


if __name__ == "__main__":
    main()
