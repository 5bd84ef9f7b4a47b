"""What five minutes of a voice teach `voice-en`, by each way to adapt it: words, similarity, quality, size, forgetting.

    python bench/voice_adapters.py --data data/anna --speaker anna --base-data data/kokoro --out runs/anna --steps 200

Of the clips of a speaker whom the voice was not trained on, five minutes are trained on, and held-out sentences are
spoken. Every way gets the same number of steps; the processor time that they took is reported. Word errors are those
of Whisper tiny.en, similarity is that of Resemblyzer to the mean of the speaker's other held-out recordings. Forgetting
is what happens to the voice's own speakers, whose held-out sentences `--base-data` has: word errors, and the loss with
the same noise.

Writes `results.json`, what was said, and `table.md` into the output folder; results that exist are kept.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from audiodiff import config, train
from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.sentences import SentenceDataset
from audiodiff.diffusion.noise import clip_seed
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.speech_evaluation import speaker_targets
from audiodiff.evaluation.speech_metrics import values
from audiodiff.evaluation.speech_scoring import SpeechScores, score_speech
from audiodiff.evaluation.speech_synthesis import recorded, say_clip, spoken_clip
from audiodiff.files import write_text
from audiodiff.models.adapted import AppliedAdapter, apply
from audiodiff.models.adapter import load as load_adapter
from audiodiff.models.checkpoint import locate
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.acoustic import AcousticTask

MIN_WORDS = 4  # of a sentence that is spoken
TRAINED_SECONDS = 300.0
LONGEST = 12.0  # seconds of a clip to train on
COMMON = ("+recipe=speech_own_voice", "logger=null", "trainer.max_time=null", "lr_schedule.warmup_steps=10")
COMMON += ("trainer.precision=bf16-mixed", "data.validation_clips=8", "callbacks.samples.clips=1")
COMMON += ("data.batch_seconds=10",)
METHODS: dict[str, tuple[str, ...]] = {
    "speaker": ("adapter=speaker", "optimizer.lr=1e-2"),
    "LoRA and speaker": ("adapter=lora", "optimizer.lr=1e-3"),
    "norms, output, speaker": (
        "model=acoustic_reference",
        "trainable=[norms,output,encoder.mean,encoder.log_scale,conditioners.speaker]",
        "optimizer.lr=1e-3",
    ),
    "all weights": ("model=acoustic_reference", "optimizer.lr=3e-4"),
}


def subset(data: Path, speaker: str, folder: Path, seconds: float) -> Manifest:
    """A manifest of some seconds of a speaker's training clips and of all held-out ones, beside the recordings."""
    whole = Manifest.load(data)
    own = [clip for clip in whole.clips if clip.speaker == speaker]
    order = sorted((clip for clip in own if clip.split == "train"), key=lambda clip: clip_seed(1, clip.id))
    chosen: list[Clip] = []
    for clip in order:
        usable = clip.durations and clip.seconds <= LONGEST
        if usable and sum(one.seconds for one in chosen) + clip.seconds <= seconds:
            chosen.append(clip)
    clips = [*chosen, *(clip for clip in own if clip.split != "train")]
    moved = tuple(replace(clip, path=os.path.relpath(whole.path(clip), folder)) for clip in clips)
    found = Manifest(moved, folder, whole.split_by)
    folder.mkdir(parents=True, exist_ok=True)
    found.save()
    return found


def sentences(manifest: Manifest, limit: int) -> list[Clip]:
    """Held-out clips of sentences, in the order of a hash of their ids."""
    held_out = manifest.with_splits("validation", "test").clips
    clips = [clip for clip in held_out if len(clip.text.split()) >= MIN_WORDS and clip.durations]
    return sorted(clips, key=lambda clip: clip_seed(0, clip.id))[:limit]


def adapt(method: str, manifest: Manifest, speaker: str, out: Path, base: SpeechSynthesizer, steps: int) -> dict:
    """Train by a method; its record."""
    words = METHODS[method]
    own = "adapter=" in " ".join(words)
    names = [speaker] if own else [*base.speakers, speaker]
    added = [f'adapter.speaker="{speaker}"'] if own else []
    limits = (f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", f"folder={out}")
    given = (f"data.speakers={json.dumps(names)}", f"data.path={manifest.root}", "init_from=voice-en")
    started = time.process_time()
    train.run(config.compose([*COMMON, *words, *added, *given, *limits]), out)
    seconds = time.process_time() - started
    exported = out / ("adapter" if own else "model")
    size = sum(file.stat().st_size for file in exported.glob("*.safetensors"))
    return {"folder": str(exported), "steps": steps, "processor_seconds": seconds, "bytes": size}


def loss(synthesizer: SpeechSynthesizer, manifest: Manifest, clips: Sequence[Clip]) -> float:
    """The training loss on clips, with the same noise for every model."""
    model = synthesizer.model
    data = SentenceDataset(replace(manifest, clips=tuple(clips)), model.mel_spec, model.symbols, model.conditioners)
    items = [data[number] for number in range(len(data))]
    batch = data.collate(items)
    if model.reference is not None:
        batch["reference"] = torch.full_like(batch["reference"], torch.nan)
    random = BatchRandom(0)
    with torch.no_grad():
        return float(AcousticTask().loss(model, batch, random)["loss"])


def speak(synthesizer: SpeechSynthesizer, clips: Sequence[Clip], folder: Path, **options) -> list[SpeechScores]:
    """Speak the texts of clips, write and score them."""
    scores = []
    for number, clip in enumerate(clips):
        speech = say_clip(synthesizer, clip, Settings(), **options)
        io.write(folder / f"{number:02d}.flac", speech.audio)
        scores.append(score_speech(spoken_clip(speech, synthesizer.model.language)))
    return scores


def figures(scores: Sequence[SpeechScores], targets: Sequence[np.ndarray]) -> dict[str, float]:
    """Word errors in percent of all words, and means of the others."""
    words = np.array([len(one.words) for one in scores])
    found = values(scores, targets)
    means = {name: float(np.nanmean(found[name])) for name in ("dnsmos", "speaker")}
    return {"wer": float(np.average(found["wer"], weights=words))} | means


class Bench:
    """Everything that is measured, and where it is written."""

    def __init__(self, options: argparse.Namespace):
        self.out, self.speaker, self.nearest = options.out, options.speaker, options.nearest
        self.base = SpeechSynthesizer.from_pretrained("voice-en")
        self.manifest = subset(options.data, options.speaker, options.out / "data", options.seconds)
        self.clips = sentences(self.manifest, options.sentences)
        self.known = Manifest.load(options.base_data)
        self.known_clips = sentences(self.known, options.base_sentences)
        rate = self.base.sample_rate
        self.recordings = [score_speech(recorded(self.manifest, clip, rate)) for clip in self.clips]
        self.known_recordings = [score_speech(recorded(self.known, clip, rate)) for clip in self.known_clips]
        self.targets = speaker_targets(self.clips, self.recordings)
        self.known_targets = speaker_targets(self.known_clips, self.known_recordings)

    def new(self, synthesizer: SpeechSynthesizer, name: str, **options) -> dict:
        """Figures of the new speaker's sentences."""
        scores = speak(synthesizer, self.clips, self.out / "said" / name, **options)
        return figures(scores, self.targets)

    def forgetting(self, synthesizer: SpeechSynthesizer, name: str) -> dict:
        """Figures of the voice's own speakers."""
        scores = speak(synthesizer, self.known_clips, self.out / "said" / f"{name}, own speakers")
        found = {f"base_{key}": value for key, value in figures(scores, self.known_targets).items()}
        return found | {"base_loss": loss(synthesizer, self.known, self.known_clips)}

    def method(self, method: str, steps: int) -> dict:
        """Train by a method, and measure."""
        folder = self.out / method.replace(", ", "_").replace(" ", "_")
        record = adapt(method, self.manifest, self.speaker, folder, self.base, steps)
        exported = Path(record["folder"])
        if exported.name == "adapter":
            model = apply(self.base.model, [AppliedAdapter(load_adapter(exported))])
            synthesizer = SpeechSynthesizer(model, vocoder=self.base.vocoder)
        else:
            synthesizer = SpeechSynthesizer.from_pretrained(exported)
        said = self.new(synthesizer, method, speaker=self.speaker)
        return record | said | self.forgetting(synthesizer, method)

    def base_rows(self) -> dict[str, dict]:
        """The recordings, and the voice as it is: as one of its speakers, and with a reference clip."""
        size = (locate("voice-en") / "model.safetensors").stat().st_size
        rows = {"recordings": figures(self.recordings, self.targets)}
        name = f"as {self.nearest}"
        rows[name] = self.new(self.base, "base", speaker=self.nearest) | {"bytes": size}
        rows[name] |= self.forgetting(self.base, "base")
        clips = self.manifest.with_splits("train").clips[:12]
        parts = [io.read(self.manifest.path(clip), self.base.sample_rate).samples.reshape(-1) for clip in clips]
        reference = io.Audio(torch.cat(parts)[: 30 * self.base.sample_rate], self.base.sample_rate)
        rows["reference of 30 s"] = self.new(self.base, "reference", speaker=None, reference=reference)
        return rows


def table(results: dict[str, dict]) -> str:
    """Results as Markdown."""
    columns = {
        "wer": "word errors {:.1f} %", "speaker": "similarity {:.3f}", "dnsmos": "DNSMOS {:.2f}",
        "steps": "steps {}", "processor_seconds": "processor seconds {:.0f}", "bytes": "bytes {:,}",
        "base_wer": "own speakers: word errors {:.1f} %", "base_speaker": "similarity {:.3f}",
        "base_dnsmos": "DNSMOS {:.2f}", "base_loss": "loss {:.3f}",
    }  # fmt: skip
    heads = [text.partition(" {")[0] for text in columns.values()]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "--:|" * len(columns)]
    for name, row in results.items():
        cells = [("{" + text.partition("{")[2]).format(row[key]) if key in row else "" for key, text in columns.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Adapt by every method, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="manifest with durations")
    parser.add_argument("--speaker", required=True)
    parser.add_argument("--base-data", type=Path, required=True, help="held-out sentences of the voice's own speakers")
    parser.add_argument("--out", type=Path, default=Path("runs/voice_adapters"))
    parser.add_argument("--nearest", default="kokoro/af_heart", help="speaker of the voice to compare with")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=TRAINED_SECONDS, help="recordings to train on")
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--base-sentences", type=int, default=16)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out = options.out.resolve()
    file = options.out / "results.json"
    results = json.loads(file.read_text()) if file.is_file() else {}
    bench = Bench(options)
    if "recordings" not in results:
        results |= bench.base_rows()
    for method in options.methods:
        if method not in results:
            results[method] = bench.method(method, options.steps)
        write_text(file, json.dumps(results, indent=2) + "\n")
        print(method, results[method], flush=True)
    seconds = sum(clip.seconds for clip in bench.manifest.with_splits("train").clips)
    notes = [f"{seconds:.0f} s of {options.speaker}, {len(bench.clips)} held-out sentences"]
    notes += [f"{name}: {value}" for name, value in environment.describe().items()]
    write_text(options.out / "table.md", table(results) + "\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
