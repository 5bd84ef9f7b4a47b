"""Kinds of guidance beside each other: is the condition followed, what happens to the distribution, what does it cost?

`python bench/guidance.py --model drums --data data/drums --classifier MODEL --scorer MODEL` generates, for each row, as
many clips as asked for, with the labels (or, of a model with prompts, the captions) of the held-out recordings in turn
and the same seeds. It writes `bench/results/guidance_MODEL.md`:

- accuracy: share of clips whose most probable class, by a classifier that guides nothing (`--scorer`), is the label;
- similarity: mean cosine of clip and prompt by an audio-text pair that guides nothing (`--metric-pair`), and the share
  of clips that are closer to their own caption than to any other;
- Frechet distance to the held-out recordings, and its paired difference from the unguided row (`bench/steps.py`);
- cost: processor time of one thread for one clip relative to the unguided row, paired: rows take turns.

Rows are stored in `--work`, so that an interrupted run goes on.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from steps import paired

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.generation_evaluation import choose_segments, load_segments
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics import timbre
from audiodiff.metrics.distribution import Axes, frechet
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.guides import Guide
from audiodiff.pipelines.seeds import clip_seeds

RESULTS = Path(__file__).parent / "results"
PLAIN = "as trained"
TEXT = """# Guidance of `{name}`

`{command}`

{facts}

{clips} clips per row, {steps} steps, with the {targets} of held-out recordings in turn; distances are to {held_out}
held-out recordings in {dimensions} dimensions. The difference of the distance is from the clips of the same seeds
without guidance, with its 95 % confidence interval. Cost is the median of {rounds} rounds in which the rows take turns,
one clip, one thread.
{scorers}
{table}
"""


def variants(options: argparse.Namespace, prompted: bool) -> dict[str, dict[str, Any]]:
    """Options of a request by the name of the row."""
    nothing = {"guidance_scale": 0.0, "guidance_interval": "all", "guidance_rescale": 0.0}  # outside, the scale is 1
    rows: dict[str, dict[str, Any]] = {PLAIN: {"guidance_scale": 1.0}, "no condition": nothing}
    for scale in options.scales:
        rows[f"classifier-free {scale:g}"] = {"guidance_scale": scale, "guidance_interval": "all"}
    for interval in options.intervals:
        scale = options.scales[-2] if len(options.scales) > 1 else options.scales[0]
        words = {"guidance_scale": scale, "guidance_interval": interval}
        rows[f"classifier-free {scale:g}, log-SNR {interval}"] = words
    for kind, weights in (("classifier", options.classifier_weights), ("autoguidance", options.autoguidance_weights)):
        if path := getattr(options, kind):
            guide = Guide.load(kind, path)
            for weight in weights:
                own = {kind: guide, f"{kind}_weight": weight, "guidance_interval": options.guide_interval}
                rows[f"{kind} {weight:g}"] = {"guidance_scale": 1.0} | own
                if kind == "classifier" and not prompted:
                    rows[f"no condition, classifier {weight:g}"] = own | nothing
    if options.pair:
        guide = Guide.load("embedding_guidance", options.pair)
        for weight in options.embedding_weights:
            own = {"embedding_guidance": guide, "embedding_weight": weight, "guidance_interval": options.guide_interval}
            rows[f"embedding {weight:g}"] = {"guidance_scale": 1.0} | own
    return rows


class Scorers:
    """What scores the clips of a row.

    Args:
        classifier: separate from those that guide; or None.
        pair: likewise.
        captions: among which a clip has to find its own.
    """

    def __init__(self, classifier: NoisyClassifier | None, pair: AudioTextModel | None, captions: Sequence[str]):
        self.classifier, self.pair, self.captions = classifier, pair, list(captions)
        self.texts = None if pair is None else pair.embed_text(self.captions)

    @torch.no_grad()
    def __call__(self, clips: torch.Tensor, sample_rate: int, label: str, caption: str) -> dict[str, list[float]]:
        """Scores of clips (B, C, T) that ought to be of a label and a caption, by name."""
        found: dict[str, list[float]] = {}
        if self.classifier is not None and label in self.classifier.classes:
            best = self.classifier.classify(clips).argmax(1)
            found["accuracy"] = (best == self.classifier.classes.index(label)).double().tolist()
        if self.pair is not None:
            cosines = self.pair.embed_audio(clips, sample_rate) @ self.texts.T
            own = self.captions.index(caption)
            found["similarity"] = cosines[:, own].tolist()
            found["own caption"] = (cosines.argmax(1) == own).double().tolist()
        return found


def generate(
    generator: AudioGenerator, words: dict[str, Any], targets: Sequence[Clip], scorers: Scorers, options
) -> dict[str, Any]:
    """Scores and embeddings of a row's clips."""
    prompted, model = "prompt" in generator.model.condition_options(), generator.model
    seeds, batches = clip_seeds(options.seed, options.clips), {}
    for seed, target in zip(seeds, (list(targets) * options.clips)[: options.clips], strict=False):
        batches.setdefault((target.label, target.caption), []).append(seed)
    found: dict[str, Any] = {"embeddings": []}
    for (label, caption), own in batches.items():
        condition = {"labels": [label]} if label in model.labels or words.get("classifier") else {}
        if prompted or words.get("embedding_guidance"):
            condition["prompt"] = caption or label
        audio = generator.generate(clip_seeds=own, steps=options.steps, **condition, **words)
        for name, values in scorers(audio.samples, audio.sample_rate, label, caption or label).items():
            found.setdefault(name, []).extend(values)
        found["embeddings"] += [timbre.embedding(clip.numpy(), audio.sample_rate).tolist() for clip in audio.samples]
    return found


def score_recordings(scorers: Scorers, clips: Sequence[np.ndarray], targets: Sequence[Clip], rate: int) -> dict:
    """Scores and embeddings of recordings (C, T): what a generator could reach."""
    found: dict[str, Any] = {"embeddings": [timbre.embedding(clip, rate).tolist() for clip in clips]}
    for clip, target in zip(clips, targets, strict=True):
        caption = target.caption or target.label
        for name, values in scorers(torch.from_numpy(clip)[None], rate, target.label, caption).items():
            found.setdefault(name, []).extend(values)
    return found


def costs(generator: AudioGenerator, rows: dict[str, dict[str, Any]], target: Clip, options) -> dict[str, float]:
    """Median ratio of processor time to the unguided row, by row."""
    conditions = {"labels": [target.label]} if target.label in generator.model.labels else {}
    ratios: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        seconds = {}
        for name, words in rows.items():
            own = dict(conditions)
            if words.get("classifier"):
                own["labels"] = [target.label]
            if words.get("embedding_guidance") or "prompt" in generator.model.condition_options():
                own["prompt"] = target.caption or target.label
            started = time.process_time()
            generator.generate(seed=1, steps=options.steps, **own, **words)
            seconds[name] = time.process_time() - started
        for name in rows:
            ratios[name].append(seconds[name] / seconds[PLAIN])
    return {name: statistics.median(values) for name, values in ratios.items()}


def stored_rows(work: Path, settings: dict[str, Any]) -> dict[str, dict]:
    """Rows of an interrupted run.

    Raises:
        UserError: they are of other settings.
    """
    if not work.exists():
        return {}
    found = json.loads(work.read_text())
    if found.get("settings") != settings:
        raise UserError(work, "has rows of other settings", "delete it, or choose another --work")
    return found["rows"]


def write_table(results: dict[str, dict], ratio: dict[str, float], axes: Axes, recordings: dict[str, Any]) -> str:
    """The rows as Markdown, with the scores of recordings as the last."""
    names = [name for name in ("accuracy", "similarity", "own caption") if name in results[PLAIN]]
    header = ["", *names, "Frechet distance", "difference", "cost"]
    lines = [f"| {' | '.join(header)} |", f"|---|{'--:|' * (len(header) - 1)}"]
    plain, target = (axes(np.array(row["embeddings"])) for row in (results[PLAIN], recordings))
    for name, row in results.items():
        points = axes(np.array(row["embeddings"]))
        cells = [f"{np.mean(row[key]):.2f}" for key in names]
        difference = "" if name == PLAIN else str(paired(frechet, points, plain, target))
        cells += [f"{frechet(points, target):.2f}", difference, f"{ratio[name]:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"| held-out recordings | {' | '.join(f'{np.mean(recordings[key]):.2f}' for key in names)} | | | |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Generate, score and write the table."""
    options = parse(words)
    torch.set_num_threads(1)
    generator = AudioGenerator.from_pretrained(options.model)
    manifest = Manifest.load(options.data)
    held_out, training = choose_segments(generator, manifest)
    targets = [clip for clip, _ in held_out]
    classifier = None if options.scorer is None else NoisyClassifier.from_pretrained(options.scorer)
    pair = None if options.metric_pair is None else AudioTextModel.from_pretrained(options.metric_pair)
    scorers = Scorers(classifier, pair, sorted({clip.caption or clip.label for clip in targets}))
    rows = variants(options, "prompt" in generator.model.condition_options())
    work = Path(options.work or RESULTS / f"guidance_{Path(options.model).name}.json")
    names = ("clips", "steps", "seed", "data", "scorer", "metric_pair")
    settings = {"model": generator.model_hash} | {name: getattr(options, name) for name in names}
    results = stored_rows(work, settings)
    for name, own in rows.items():
        if name not in results:
            results[name] = generate(generator, own, targets, scorers, options)
            write_text(work, json.dumps({"settings": settings, "rows": results}))
            print(name, {key: round(float(np.mean(v)), 3) for key, v in results[name].items() if key != "embeddings"})
    results = {name: results[name] for name in rows}
    ratio = costs(generator, rows, targets[0], options)
    rate = generator.sample_rate
    recordings = score_recordings(scorers, list(load_segments(manifest, held_out, generator)), targets, rate)
    trained = [timbre.embedding(clip, rate) for clip in load_segments(manifest, training, generator)]
    axes = Axes.of(np.array(trained), min(len(held_out), options.clips) // 5)
    given = " ".join(f"--{name.replace('_', '-')} {_shown(value)}" for name, value in vars(options).items() if value)
    text = TEXT.format(
        name=options.name or options.model,
        command=f"python bench/guidance.py {given}",
        facts=format_facts(environment.describe("cpu") | {"model": generator.model_hash[:12]}),
        clips=options.clips,
        steps=options.steps or generator.model.default_steps,
        targets="captions" if "prompt" in generator.model.condition_options() else "labels",
        held_out=len(held_out),
        dimensions=axes.basis.shape[1],
        rounds=options.rounds,
        scorers=options.notes,
        table=write_table(results, ratio, axes, recordings),
    )
    write_text(RESULTS / f"guidance_{options.name or Path(options.model).name}.md", text)
    print(text)


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="drums")
    parser.add_argument("--name", help="of the results (default: the model's)")
    parser.add_argument("--data", required=True)
    parser.add_argument("--classifier", help="that guides")
    parser.add_argument("--scorer", help="a classifier that scores")
    parser.add_argument("--autoguidance", help="a worse model")
    parser.add_argument("--pair", help="an audio-text pair that guides")
    parser.add_argument("--metric-pair", help="an audio-text pair that scores")
    parser.add_argument("--scales", type=float, nargs="*", default=[1.5, 2.0, 4.0, 7.0])
    parser.add_argument("--intervals", nargs="*", default=["-4:4", "-2:3"])
    parser.add_argument("--guide-interval", default="all", help="of the other kinds")
    parser.add_argument("--classifier-weights", type=float, nargs="*", default=[1.0, 4.0])
    parser.add_argument("--autoguidance-weights", type=float, nargs="*", default=[1.5, 2.0])
    parser.add_argument("--embedding-weights", type=float, nargs="*", default=[100.0])
    parser.add_argument("--clips", type=int, default=138)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", help="file that rows are stored in")
    parser.add_argument("--notes", default="", help="a sentence on the scorers")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
