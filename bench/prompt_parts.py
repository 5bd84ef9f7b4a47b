"""What a generator takes from each part of a prompt: from its words, read by attention, and from their mean.

`python bench/prompt_parts.py --models sounds=sounds NAME=FOLDER --data DATA` generates four clips from each of 60
held-out captions, of the lengths of their recordings and with the same noise in all rows: from the whole prompt, from
its tokens alone (the sentence vector is zero), and from the sentence vector alone (the tokens are left out). It writes
`bench/results/prompt_parts.md`:

- retrieval of the own caption among the 60, and similarity to it, by `audio-text` (`evaluation.prompt_evaluation`);
- Frechet distance to the held-out recordings in spectral features (`audiodiff/metrics/timbre.py`), with the interval of
  its paired difference from the first model with whole prompts;
- effect: how much the first of ten estimates changes without the tokens, and without the sentence vector
  (`pipelines.explanation`), median and range of the 60 captions.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from steps import paired

from audiodiff.conditioners.prompt import Prompt
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.generation_evaluation import choose_segments, load_segments
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.prompt_evaluation import ALL, REAL, UNPROMPTED, Fidelity, PromptEvaluation
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics import timbre
from audiodiff.metrics.distribution import LEAST_PER_DIMENSION, Axes, frechet
from audiodiff.nn.attention import CrossAttention
from audiodiff.pipelines.audio_explainer import WHOLE, WORDS, AudioExplainer
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder

RESULTS = Path(__file__).parent / "results"
EXPLAINED = 10  # steps
PARTS = BOTH, TOKENS, SENTENCE = "whole", "words alone", "sentence vector alone"
TEXT = """# What `sounds` takes from each part of a prompt

`{command}`

{facts}

{captions} held-out captions, {repeats} clips of each with the same noise in all rows, {steps} steps, the model's own
guidance; intervals are 95 %, by bootstrap over captions. Distances are to the {held_out} held-out recordings, in
{dimensions} dimensions; the change is from the first row, with the interval of the paired difference. One run of each
model, no listening test. The metric is `audio-text`, which knows the training clips.

| | prompt | own caption closest | among the five closest | similarity | Frechet distance | change | interval |
|---|---|--:|--:|--:|--:|--:|--:|
{table}

How much the first of {explained} estimates changes, in percent, of the {captions} captions:

| | without the words: median, range | without the sentence vector: median, range |
|---|--:|--:|
{effects}

{notes}
"""


def restrict(generator: AudioGenerator, part: str) -> AudioGenerator:
    """The same generator, which reads one part of prompts; it is changed in place."""
    with torch.no_grad():
        for module in generator.model.modules():
            if part == SENTENCE and isinstance(module, CrossAttention):
                module.project.weight.zero_()  # what it computes where no token is valid
            if part == TOKENS and isinstance(module, Prompt):
                module.sentence[-1].weight.zero_()  # type: ignore[operator, union-attr]
    return generator


def features(clips: Iterator[np.ndarray], rate: int) -> np.ndarray:
    """Spectral features (N, K) of clips (C, T), which are not silent."""
    return np.array([timbre.embedding(clip, rate) for clip in clips])


def effects(folder: str, captions: list[str]) -> tuple[str, str]:
    """Median and range of the effect of the words and of the sentence vector on the first estimate, in percent."""
    explainer = AudioExplainer.from_pretrained(folder)
    first = [explainer.explain(prompt=one, steps=EXPLAINED, seed=0).steps[0].sensitivity for one in captions]
    found = [100 * np.array([one["prompt" + part] for one in first]) for part in (WORDS, WHOLE)]
    words, whole = (f"{np.median(one):.1f}, {one.min():.1f} to {one.max():.1f}" for one in found)
    return words, whole


def shown(one: Fidelity) -> str:
    """Retrieval and similarity as cells of the table."""

    def percent(share) -> str:
        return f"{100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"

    return f"{percent(one.recall_at_1)} | {percent(one.recall_at_5)} | {one.similarity.mean:.3f}"


def main() -> None:
    """Generate, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["sounds=sounds"], metavar="NAME=FOLDER")
    parser.add_argument(
        "--data", required=True, help="with captions, of all recordings that the models were trained on"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="the first is compared with")
    parser.add_argument("--limit", type=int, default=240, help="clips of each row")
    parser.add_argument("--training", type=int, default=600, help="training clips that the dimensions are chosen by")
    parser.add_argument("--notes", default="", help="how the models were trained, for the table")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # of words that no training caption has
    models = dict(one.split("=", 1) for one in options.models)
    embedder, manifest = AudioTextEmbedder.from_pretrained("audio-text"), Manifest.load(options.data)
    settings = Settings(limit=options.limit)
    generator = AudioGenerator.from_pretrained(next(iter(models.values())))
    rate = generator.sample_rate
    held_out, training = choose_segments(generator, manifest)
    known = features(load_segments(manifest, training[: options.training], generator), rate)
    real = features(load_segments(manifest, held_out, generator), rate)
    axes = Axes.of(known, min(options.limit, len(real)) // LEAST_PER_DIMENSION)
    target, reference, lines, table = axes(real), None, [], []
    base = 0.0
    for name, folder in models.items():
        for part in options.parts:
            made = restrict(AudioGenerator.from_pretrained(folder), part)
            evaluation = PromptEvaluation(made, embedder, manifest, settings)
            points = axes(features(evaluation.generate(part), rate))
            if reference is None:
                reference, base = points, frechet(points, target)
                evaluation.recordings()
                list(evaluation.generate(UNPROMPTED, prompt=None))
            change = f"{100 * (frechet(points, target) / base - 1):+.0f} %"
            gap = paired(frechet, points, reference, target)
            interval = f"{100 * gap.low / base:+.0f} to {100 * gap.high / base:+.0f} %"
            found = evaluation.fidelity()
            cells = "– | –" if points is reference else f"{change} | {interval}"
            lines.append(f"| {name} | {part} | {shown(found[part][ALL])} | {frechet(points, target):.2f} | {cells} |")
            if points is reference:
                table = [f"| {one} | | {shown(found[one][ALL])} | | | |" for one in (UNPROMPTED, REAL)]
            print(lines[-1], flush=True)
    captions = [one.caption for one in evaluation.prompts]
    text = TEXT.format(
        command=f"python bench/prompt_parts.py --models {' '.join(f'{one}=FOLDER' for one in models)} --data DATA",
        facts=format_facts(environment.describe("cpu")), captions=len(captions), repeats=evaluation.repeats,
        steps=generator.model.default_steps, held_out=len(real), dimensions=axes.basis.shape[1], explained=EXPLAINED,
        table="\n".join([*lines, *table]),
        notes=options.notes,
        effects="\n".join(f"| {name} | {' | '.join(effects(folder, captions))} |" for name, folder in models.items()),
    )  # fmt: skip
    write_text(options.out / "prompt_parts.md", text)
    print(text)


if __name__ == "__main__":
    main()
