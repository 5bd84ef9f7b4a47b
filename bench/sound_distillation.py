"""Students of `sounds` of one and two steps beside their teacher: distance, similarity to the prompt, variety.

`python bench/sound_distillation.py train METHOD --data data/sounds --runs RUNS --minutes 4` trains a student for so
many minutes of processor time of one thread, as `bench/distillation.py` does for drums, and keeps the student of each
number of steps. `score` generates a clip from the caption of each held-out recording, of its length and with the same
noise in all rows, and writes `bench/results/distillation_sounds.md`:

- Frechet distance to the held-out recordings in spectral features (`audiodiff/metrics/timbre.py`), with the 95 %
  interval of its paired difference from the teacher at 16 steps;
- similarity: mean cosine of clip and caption by `audio-text`;
- variety: mean distance between two clips, relative to recordings.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import distillation
import numpy as np
import torch
from distillation import RESULTS, spread, student
from steps import paired

from audiodiff.audio.io import read
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics import timbre
from audiodiff.metrics.distribution import LEAST_PER_DIMENSION, Axes, frechet
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.seeds import clip_seeds

MODEL = "sounds"
COMMON = ("+recipe=sounds", f"data.codec={MODEL}", "data.workers=0", "callbacks.ema.decay=0.99", "sampler=ddim")
UNROLLED = ("task=energy_distance", "optimizer.lr=1e-4", "lr_schedule.warmup_steps=20", "sampler.steps=1")
# Overrides of the training command, and the numbers of steps that a run has a student for.
METHODS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "progressive": (
        (*COMMON, "task=progressive", "optimizer.lr=3e-4", "lr_schedule=staged_linear", "sampler.steps=1"),
        (8, 4, 2, 1),
    ),
    "energy distance after progressive": ((*COMMON, *UNROLLED, "task.steps=[1]"), (1,)),
}
# Methods that start from the student of so many steps of another, which is trained before.
AFTER = {"energy distance after progressive": ("progressive", 1)}
TEACHER = (1, 2, 4, 8, 16)  # steps
UNGUIDED = 1.0
TEXT = """# Students of `{model}`, at 1 to 8 steps

`{command}`

{facts}

Processor time of one thread for each student: {costs}. A clip for each of the
{clips} held-out recordings with a caption, of its length; distances are to these recordings, in {dimensions}
dimensions, and the interval is that of the paired difference from the teacher at 16 steps (95 %). The similarity of the
recordings to their captions is {similarity:.3f}. The model's own guidance evaluates the network twice a step, guidance
1 once. All rows are of DDIM, which is the sampler of the students. One run each, no listening test.

| | guidance | steps | Frechet distance | from the teacher at 16 | interval | similarity | variety |
|---|---|--:|--:|--:|--:|--:|--:|
{table}
"""

Embeddings = tuple[np.ndarray, torch.Tensor]


class Embedder:
    """Spectral features and audio-text vectors of clips at a sample rate."""

    def __init__(self, sample_rate: int):
        self.sample_rate, self.model = sample_rate, AudioTextEmbedder.from_pretrained("audio-text").model

    @torch.inference_mode()
    def __call__(self, clips: Sequence[torch.Tensor]) -> Embeddings:
        """Features (N, K) and unit vectors (N, D) of clips (1, T)."""
        features = np.array([timbre.embedding(clip.numpy(), self.sample_rate) for clip in clips])
        vectors = torch.cat([self.model.embed_audio(clip[None], self.sample_rate) for clip in clips])
        return features, torch.nn.functional.normalize(vectors, dim=1)

    @torch.inference_mode()
    def texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Unit vectors (N, D) of captions."""
        return torch.nn.functional.normalize(self.model.embed_text(list(captions)), dim=1)


def generate(folder: str | Path, clips: Sequence[Clip], steps: int, guidance: float | None) -> list[torch.Tensor]:
    """A clip (1, T) from each caption."""
    generator = AudioGenerator.from_pretrained(folder)
    longest, found = generator.model.samples / generator.sample_rate, []
    for clip, seed in zip(clips, clip_seeds(0, len(clips)), strict=True):
        seconds = min(clip.seconds, longest)
        options = {"prompt": clip.caption, "seconds": seconds, "steps": steps, "guidance_scale": guidance}
        # Of first order at any number of steps, as its students are.
        found.append(generator.generate(clip_seeds=[seed], sampler="ddim", **options).samples[0])
    return found


def score(options: argparse.Namespace) -> None:
    """Generate, compare, write the table."""
    teacher, manifest = AudioGenerator.from_pretrained(MODEL), Manifest.load(options.data)
    rate, embed = teacher.sample_rate, Embedder(teacher.sample_rate)
    held_out = [clip for clip in manifest.with_splits("validation", "test").clips if clip.caption]
    training = [clip for clip in manifest.with_splits("train").clips if clip.caption]

    def recordings(clips: Sequence[Clip]) -> list[torch.Tensor]:
        found = [read(manifest.path(clip), rate, channels=1).samples.reshape(1, -1) for clip in clips]
        return [samples[:, : teacher.model.samples] for samples in found]

    known = np.array([timbre.embedding(clip.numpy(), rate) for clip in recordings(training)])
    features, vectors = embed(recordings(held_out))
    axes = Axes.of(known, len(held_out) // LEAST_PER_DIMENSION)
    real, texts = axes(features), embed.texts([clip.caption for clip in held_out])
    warnings.simplefilter("ignore", UserWarning)  # of steps that a model is not for
    rows: dict[tuple[str, float | None, int], Embeddings] = {}
    for guidance in (None, UNGUIDED):
        for steps in TEACHER:
            rows["teacher", guidance, steps] = embed(generate(MODEL, held_out, steps, guidance))
    costs = []
    for method, (_, counts) in METHODS.items():
        trained = [steps for steps in sorted(counts) if student(options, method, steps).is_dir()]
        costs += [distillation.cost_of(options, method, method)] if trained else []
        for steps in trained:
            for guidance in (None, UNGUIDED):
                clips = generate(student(options, method, steps), held_out, steps, guidance)
                rows[method, guidance, steps] = embed(clips)
    reference, lines = axes(rows["teacher", None, 16][0]), []
    base = frechet(reference, real)
    for (method, guidance, steps), (features, found) in rows.items():
        points = axes(features)
        distance, gap = frechet(points, real), paired(frechet, points, reference, real)
        own = (method, guidance, steps) == ("teacher", None, 16)
        change = "–" if own else " to ".join(f"{100 * end / base:+.0f}" for end in (gap.low, gap.high)) + " %"
        shown = f"{distance:.2f} | {100 * (distance / base - 1):+.0f} % | {change}"
        similarity, variety = float((found * texts).sum(1).mean()), spread(points) / spread(real)
        scale = "own" if guidance is None else f"{guidance:g}"
        lines.append(f"| {method} | {scale} | {steps} | {shown} | {similarity:.3f} | {variety:.2f} |")
        print(lines[-1], flush=True)
    text = TEXT.format(
        model=MODEL, command="python bench/sound_distillation.py score --data data/sounds --runs RUNS",
        facts=format_facts(environment.describe("cpu") | {"teacher": teacher.model_hash[:12]}),
        costs="; ".join(costs), clips=len(held_out), dimensions=axes.basis.shape[1],
        similarity=float((vectors * texts).sum(1).mean()), table="\n".join(lines),
    )  # fmt: skip
    write_text(options.out / "distillation_sounds.md", text)
    print(text)


def main() -> None:
    """Train a student, or score all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("train", "score"))
    parser.add_argument("method", nargs="?", choices=METHODS)
    parser.add_argument("--data", default="data/sounds")
    parser.add_argument("--runs", type=Path, default=Path("runs/sound_distillation"))
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.verb == "score":
        return score(options)
    words, counts = METHODS[options.method]
    start = student(options, *AFTER[options.method]) if options.method in AFTER else MODEL
    words = (*words, f"init_from={start}", f"data.path={options.data}", "callbacks.samples.clips=2")
    distillation.train(options.method, [*words, *distillation.QUIET], counts, options)


if __name__ == "__main__":
    main()
