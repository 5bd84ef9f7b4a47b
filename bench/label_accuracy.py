"""Do clips of a generator have the noun of their prompt, by a classifier that is separate from it?

`python bench/label_accuracy.py --model sounds --scorer CLASSIFIER --data DATA` generates clips from captions of
recordings that the classifier was not trained on, at several guidance scales, and counts those whose most probable
class is that of the caption. Captions have exactly one of the classifier's classes, and classes have equal weight, so
that chance is one over their number. Beside them stand clips without a prompt, of the same lengths, and the recordings
themselves: where the classifier is wrong on those, its figure of generated clips is too low as well.

The classifier is that of `+recipe=noisy_classifier` at its lowest noise level, on waveforms, with classes that are
words of captions (`data.labels=[] model.classes=[...]`). It learns from clips that have one of them, which
`--select nouns.jsonl --classes kick snare --data DATA` writes as a second manifest beside that of each folder; where
most clips have none, it learns to predict none. Intervals are 95 %, by bootstrap over captions. The table goes to
`bench/results/label_accuracy_NAME.md`.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from audiodiff.conditioners.classes import classes_of
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import SPLITS
from audiodiff.evaluation.report import format_facts
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.files import write_text
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds

RESULTS = Path(__file__).parent / "results"
TEXT = """# Whether clips of `{name}` have the noun of their prompt

`{command}`

{facts}

{captions} captions of recordings that the classifier was not trained on, {recorded} of them recorded and {rendered}
rendered instruments, {repeats} clips of each, {steps} steps; {classes} classes: {names}. Mean over classes.

{table}

By class, at the model's own guidance:

{by_class}
{notes}"""


def choose(manifest: Manifest, classes: Sequence[str], limit: int) -> dict[str, list[Clip]]:
    """Held-out clips with exactly one of the classes and different captions, at most `limit` of each class, by class.

    Recordings come before rendered instruments, each in the order of a hash of their ids.
    """
    found: dict[str, dict[str, Clip]] = {name: {} for name in classes}
    order = sorted(manifest.with_splits(*SPLITS).clips, key=lambda clip: (clip.synthetic, clip_seed(0, clip.id)))
    for clip in order:
        own = classes_of(clip, classes)
        if len(own) == 1 and clip.caption:
            captions = found[own.pop()]
            if len(captions) < limit:
                captions.setdefault(clip.caption, clip)
    return {name: list(captions.values()) for name, captions in found.items() if captions}


def select(folder: str, name: str, classes: Sequence[str]) -> Path:
    """Write a manifest beside that of a folder, of the clips with exactly one of the classes."""
    manifest = Manifest.load(folder)
    clips = tuple(clip for clip in manifest.clips if len(classes_of(clip, classes)) == 1)
    return replace(manifest, clips=clips).save(manifest.root / name)


def accuracy(hits: dict[str, list[np.ndarray]], names: Sequence[str] | None = None) -> Interval:
    """The mean over classes of the share of hits, each an array (repeats,) of a caption; intervals over captions."""
    chosen = {name: found for name, found in hits.items() if names is None or name in names}
    means = np.array([hit.mean() for found in chosen.values() for hit in found])
    weights = np.array([1 / len(found) for found in chosen.values() for _ in found])
    return bootstrap(means, weights)


class LabelScorer:
    """The share of clips whose most probable class is theirs.

    Args:
        classifier: separate from the generator.
        targets: recordings by class.
        classes: among which a clip is classified.
    """

    def __init__(self, classifier: NoisyClassifier, targets: dict[str, list[Clip]]):
        self.classifier, self.targets = classifier, targets
        self._places = [classifier.classes.index(name) for name in targets]

    def score(self, clips: Iterator[torch.Tensor]) -> dict[str, list[np.ndarray]]:
        """Hits by class, of clips (B, C, T) of each target in their order."""
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.targets}
        for place, name in enumerate(self.targets):
            for _ in self.targets[name]:
                batch = next(clips)
                batch = pad(batch, (0, max(self.classifier.samples - batch.shape[-1], 0)))
                best = self.classifier.classify(batch)[:, self._places].argmax(1)
                found[name].append((best == place).double().numpy())
        return found


def generate(
    generator: AudioGenerator, targets: Sequence[Clip], repeats: int, seed: int, **options: Any
) -> Iterator[torch.Tensor]:
    """Clips (repeats, C, T) of each caption, as long as its recording."""
    longest, seeds = generator.model.samples / generator.sample_rate, clip_seeds(seed, repeats * len(targets))
    for number, clip in enumerate(targets):
        own = {"prompt": clip.caption, "seconds": min(clip.seconds, longest)} | options
        with warnings.catch_warnings(action="ignore"):  # of words that only held-out captions have
            clips = generator.generate(clip_seeds=seeds[number * repeats : (number + 1) * repeats], **own).samples
        yield clips


def main(words: Sequence[str] | None = None) -> None:
    """Generate, classify and write the table."""
    options = parse(words)
    torch.set_num_threads(1)
    if options.select:
        for folder in options.data:
            print(select(folder, options.select, options.classes))
        return
    generator = AudioGenerator.from_pretrained(options.model)
    classifier = NoisyClassifier.from_pretrained(options.scorer)
    manifest = Manifest.join([Manifest.load(path) for path in options.data])
    targets = choose(manifest, classifier.classes, options.captions)
    flat = [clip for clips in targets.values() for clip in clips]
    scorer, rate, samples = LabelScorer(classifier, targets), generator.sample_rate, generator.model.samples
    crops = (read_crop(manifest, clip, rate, 0, samples, generator.model.channels)[None] for clip in flat)
    rows = {"held-out recordings": scorer.score(crops)}
    sets: dict[str, dict[str, Any]] = {"no prompt, same lengths": {"prompt": None}, "the model's own guidance": {}}
    sets |= {f"guidance {scale:g}": {"guidance_scale": scale} for scale in options.scales}
    for name, more in sets.items():
        rows[name] = scorer.score(generate(generator, flat, options.repeats, options.seed, steps=options.steps, **more))
        print(name, accuracy(rows[name]), flush=True)
    of_kind = {
        kind: [name for name, clips in targets.items() if all(clip.synthetic == (kind == "rendered") for clip in clips)]
        for kind in ("recorded", "rendered")
    }
    lines = ["| | accuracy | classes of recordings | classes of instruments |", "|---|--:|--:|--:|"]
    lines.append(f"| chance | {100 / len(targets):.1f} % | | |")
    for name in [*sets, "held-out recordings"]:
        cells = [_percent(accuracy(rows[name]))]
        cells += [_percent(accuracy(rows[name], names)) if names else "" for names in of_kind.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    by_class = ["| class | captions | generated | recordings |", "|---|--:|--:|--:|"]
    for name, clips in targets.items():
        cells = [
            f"{100 * np.mean(rows[row][name]):.0f} %" for row in ("the model's own guidance", "held-out recordings")
        ]
        by_class.append(f"| {name} | {len(clips)} | {' | '.join(cells)} |")
    given = [f"--{key} {' '.join(map(str, v)) if isinstance(v, list) else v}" for key, v in vars(options).items() if v]
    name = options.name or Path(options.model).name
    text = TEXT.format(
        name=name,
        command=f"python bench/label_accuracy.py {' '.join(given)}",
        facts=format_facts(environment.describe("cpu") | {"model": generator.model_hash[:12]}),
        captions=len(flat),
        recorded=sum(not clip.synthetic for clip in flat),
        rendered=sum(clip.synthetic for clip in flat),
        repeats=options.repeats,
        steps=options.steps or generator.model.default_steps,
        classes=len(targets),
        names=", ".join(targets),
        table="\n".join(lines),
        by_class="\n".join(by_class),
        notes=f"\n{options.notes}\n" if options.notes else "",
    )
    write_text(RESULTS / f"label_accuracy_{name}.md", text)
    print(text)


def _percent(interval: Interval) -> str:
    return f"{100 * interval.mean:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sounds")
    parser.add_argument("--name", help="of the results (default: the model's)")
    parser.add_argument("--data", nargs="+", required=True, help="manifests that the classifier was trained on")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--scorer", help="the classifier")
    task.add_argument("--select", metavar="NAME.jsonl", help="write manifests of clips with one of --classes instead")
    parser.add_argument("--classes", nargs="+", default=[], help="of --select")
    parser.add_argument("--captions", type=int, default=8, help="of each class, at most")
    parser.add_argument("--repeats", type=int, default=4, help="clips of each caption")
    parser.add_argument("--scales", type=float, nargs="*", default=[1.0, 2.0, 4.0, 7.0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--notes", default="", help="what the table shows")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
