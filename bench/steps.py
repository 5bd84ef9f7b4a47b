"""Few steps against many: how much further from recordings are clips generated with ten steps?

`python bench/steps.py --model music --data data/music` generates the same seeds with few steps, on the model's stored
time grid and on the sampler's default grid, and with many steps, and compares each with held-out recordings.
Differences from many steps are paired (same seeds, same recordings); their 95 % confidence intervals come from the
delete-half jackknife over seeds. It writes `bench/results/steps_MODEL.md`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment, generation_evaluation
from audiodiff.evaluation.clip_features import ClipFeatures
from audiodiff.evaluation.generation_evaluation import DISTANCES
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.report import format_facts
from audiodiff.files import write_text
from audiodiff.metrics.distribution import HALVES, LEAST_PER_DIMENSION, Axes, Spread
from audiodiff.pipelines.audio_generator import AudioGenerator

RESULTS = Path(__file__).parent / "results"
TEXT = """# Few steps against many, with the same seeds

`python bench/steps.py --model {options.model} --data {options.data} --clips {options.clips}`

{facts}

{clips} clips per row against {held_out} held-out segments, in {dimensions} dimensions; the floor, for as many training
segments, is {floor}. Differences are from {many} steps, with 95 % confidence intervals.

{table}
"""


def paired(distance, few: np.ndarray, many: np.ndarray, real: np.ndarray, seed: int = 0) -> Spread:
    """Paired difference of the distances of `few` and `many` (N, K) to `real` (M, K), with its interval."""
    rng = np.random.default_rng(seed)

    def difference(indices: np.ndarray) -> float:
        return distance(few[indices], real) - distance(many[indices], real)

    halves = [difference(rng.permutation(len(few))[: len(few) // 2]) for _ in range(HALVES)]
    return Spread.about(difference(np.arange(len(few))), np.array(halves))


def rows(generator: AudioGenerator, settings: Settings, steps: list[int], many: int) -> dict[str, ClipFeatures]:
    """Features of the clips of the same seeds, by number of steps and grid."""
    model, features = generator.model, {}
    variants = [(count, count, model) for count in steps]
    variants += [(f"{count}, default grid", count, model.with_arguments(grids=[])) for count in steps]
    for name, count, with_grids in [*variants, (many, many, model)]:
        by = AudioGenerator(with_grids, generator.device)
        clips = generation_evaluation.generate_clips(by, replace(settings, steps=count))
        features[str(name)] = ClipFeatures.extract(clips, generator.sample_rate)
        print(name, flush=True)
    return features


def main() -> None:
    """Generate, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="music")
    parser.add_argument("--data", default="data/music")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--many", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator, settings = AudioGenerator.from_pretrained(options.model), Settings(limit=options.clips)
    manifest = Manifest.load(options.data)
    held_out, training = generation_evaluation.choose_segments(generator, manifest)
    real, train = (
        ClipFeatures.extract(generation_evaluation.load_segments(manifest, some, generator), generator.sample_rate)
        for some in (held_out, training)
    )
    axes = Axes.of(train.embeddings, len(real) // LEAST_PER_DIMENSION)
    target = axes(real.embeddings)
    sets = rows(generator, settings, options.steps, options.many)
    shared = set.intersection(*(set(one.indices.tolist()) for one in sets.values()))  # not silent in any row
    placed = {name: axes(one.embeddings[np.isin(one.indices, sorted(shared))]) for name, one in sets.items()}
    floors = {kind: distance(axes(train.embeddings)[: len(shared)], target) for kind, distance in DISTANCES.items()}
    lines = [f"| steps | {' | '.join(f'{kind} distance | difference' for kind in DISTANCES)} |"]
    lines.append("|---|" + "--:|--:|" * len(DISTANCES))
    reference = placed[str(options.many)]
    for name, clips in placed.items():
        cells = []
        for distance in DISTANCES.values():
            base = distance(reference, target)
            gap = paired(distance, clips, reference, target)
            relative = f"{100 * gap.median / base:+.1f} % ({100 * gap.low / base:+.1f} to {100 * gap.high / base:+.1f})"
            cells.append(f"{distance(clips, target):.3g} | {relative if clips is not reference else '–'}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = TEXT.format(
        options=options,
        facts=format_facts(environment.describe("cpu")),
        clips=len(shared),
        held_out=len(real),
        dimensions=axes.basis.shape[1],
        floor=" and ".join(f"{value:.3g} ({kind})" for kind, value in floors.items()),
        many=options.many,
        table="\n".join(lines),
    )
    write_text(options.out or RESULTS / f"steps_{Path(options.model).name}.md", text)
    print(text)


if __name__ == "__main__":
    main()
