"""Evaluation of a generator: how far generated clips are from held-out recordings, and whether they are memorized.

Generated clips have no reference, so sets of clips are compared, in an embedding (`metrics.timbre`) projected to the
principal axes of the training clips. Each row has the distance to the held-out clips, over subsets of one size, so that
rows are comparable. The row of the training clips is the floor: the distance between real clips of different pieces.
Halves of the held-out clips share their pieces and are closer to each other; distances to such a half are reported too.

A model that memorizes its training clips also reaches the floor. Therefore the distance of each generated clip to its
nearest training clip is compared with that of held-out clips: copies are closer. If clips are segments of longer
pieces, held-out clips are from other pieces, and real segments of the same pieces would be closer too: the row of the
training clips has the distance of a training clip to the nearest other one.

A latent diffusion model is evaluated with its codec, and so is its network with random weights. An additional row has
training clips encoded and decoded by the codec: the best that its latents allow. These are close to training clips
without memorization.

A model that takes prompts generates from captions of held-out clips (`evaluation.prompt_evaluation`), and without.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
import torch

from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.clip_features import ClipFeatures
from audiodiff.evaluation.held_out import SPLITS, Settings, clip_list_hash, of_labels
from audiodiff.evaluation.prompt_evaluation import UNPROMPTED, PromptEvaluation
from audiodiff.metrics import timbre
from audiodiff.metrics.distribution import (
    LEAST_PER_DIMENSION,
    Axes,
    Spread,
    estimate,
    frechet,
    kernel,
    nearest,
    subsampled,
)
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds

Segment = tuple[Clip, int]  # a recording, and the first sample of a segment of it
DISTANCES = {"Frechet": frechet, "kernel": kernel}
TRAINING, GENERATED, UNTRAINED = "training clips (the floor)", "generated", "network at initialization"
RECONSTRUCTED = "training clips through the codec"
HELD_OUT = "the other half"
COUNT = 256  # generated clips
MIN_CLIPS = 20  # of each set
MAX_CLIPS = 1000  # training clips, and held-out clips; chosen by a hash of their ids
EXAMPLES = 16
_BATCH = 16


@dataclass(frozen=True)
class Row:
    """Results of a set of clips.

    Attributes:
        clips: number of clips that are scored.
        silent: number of silent clips, which are not scored.
        distances: to the held-out clips, by name, with confidence intervals.
        nearest: distance to the nearest training clip; for training clips, to the nearest other one.
        variety: mean distance between two clips, relative to the training clips.
        crest_db: median crest factor.
        loudness: LUFS at peak level 1.
        pulse_clarity: see `metrics.rhythm`; None if the clips are too short.
        not_finite: number of clips with NaN or infinite samples, which are not scored.
    """

    clips: int
    silent: int
    distances: dict[str, Spread]
    nearest: Spread
    variety: float
    crest_db: float
    loudness: Spread
    pulse_clarity: Spread | None
    not_finite: int = 0


@dataclass(frozen=True)
class Neighbor:
    """The nearest training clip of a generated clip: its id, the position in it in seconds, and the distance."""

    clip: int
    nearest: str
    seconds: float
    distance: float


@dataclass(frozen=True)
class Evaluation:
    """Results.

    Attributes:
        rows: by name of the set.
        held_out: distance of held-out clips to the nearest training clip.
        held_out_clips: number of held-out clips.
        subset: number of clips of the subsets that are compared.
        dimensions: number of principal axes.
        halves: distances to a half of the held-out clips, by name of the set; `HELD_OUT` is the other half.
        neighbors: of the generated clips that are scored.
        facts, settings, clip_list_hash: how the results were computed.
    """

    rows: dict[str, Row]
    held_out: Spread
    held_out_clips: int
    subset: int
    dimensions: int
    halves: dict[str, dict[str, Spread]]
    neighbors: list[Neighbor]
    facts: dict
    settings: Settings
    clip_list_hash: str

    @property
    def ratio(self) -> dict[str, float]:
        """Distances of the generated clips relative to the floor."""
        rows = (self.rows[GENERATED], self.rows[TRAINING])
        return {name: rows[0].distances[name].median / rows[1].distances[name].median for name in DISTANCES}


def evaluate(
    generator: AudioGenerator,
    untrained: AudioGenerator | None,
    manifest: Manifest,
    settings: Settings,
    prompted: PromptEvaluation | None = None,
) -> tuple[Evaluation, dict[int, np.ndarray]]:
    """Generate, embed and compare.

    Args:
        generator: the model to evaluate.
        untrained: the same model with random weights, or None.
        manifest: corpus that the model was trained on.
        settings: settings of the evaluation; `limit` is the number of generated clips (None: `COUNT`).
        prompted: what generates from prompts; None: clips are generated without.

    Returns:
        The results, and some of the generated clips (C, T) by their index: the first ones, or one of each prompt.

    Raises:
        UserError: too few held-out or generated clips, or a clip that cannot be read.
    """
    settings = _resolve(settings, generator, prompted)
    held_out, training = choose_segments(generator, manifest, settings.splits)
    examples: dict[int, np.ndarray] = {}
    generated = generate_clips(generator, settings) if prompted is None else prompted.generate(GENERATED)
    clips = {
        TRAINING: load_segments(manifest, training, generator),
        GENERATED: _with_examples(generated, examples, 1 if prompted is None else prompted.repeats),
    }
    if prompted is not None:
        prompted.recordings()
        for scale in settings.guidance_scales:
            clips[f"guidance {scale:g}"] = prompted.generate(f"guidance {scale:g}", guidance_scale=scale)
        clips[UNPROMPTED] = prompted.generate(UNPROMPTED, prompt=None)
    if generator.model.codec is not None:
        clips[RECONSTRUCTED] = (_reconstruct(generator, x) for x in load_segments(manifest, training, generator))
    if untrained is not None:
        clips[UNTRAINED] = generate_clips(untrained, settings)
    sets = {name: ClipFeatures.extract(some, generator.sample_rate) for name, some in clips.items()}
    for name, one in sets.items():
        if len(one) < MIN_CLIPS:
            total = len(one) + one.silent + one.not_finite
            problem = f"{one.silent} of {total} clips are silent, {one.not_finite} have NaN or infinite samples"
            raise UserError(name, problem, "train longer, or generate more with --limit")
    real = ClipFeatures.extract(load_segments(manifest, held_out, generator), generator.sample_rate)
    size = min(len(real), *map(len, sets.values()))
    axes = Axes.of(sets[TRAINING].embeddings, size // LEAST_PER_DIMENSION)
    target, points = axes(real.embeddings), {name: axes(one.embeddings) for name, one in sets.items()}
    evaluation = Evaluation(
        rows={name: _row(one, points[name], points[TRAINING], target, size) for name, one in sets.items()},
        held_out=Spread.of(nearest(target, points[TRAINING])[0]),
        held_out_clips=len(real),
        subset=size,
        dimensions=axes.basis.shape[1],
        halves=_halves(real, sets),
        neighbors=_neighbors(sets, points, training, generator.sample_rate),
        facts=environment.describe(str(generator.device))
        | {"model": generator.model_hash[:12], "embedding": timbre.NAME},
        settings=settings,
        clip_list_hash=clip_list_hash(list(dict.fromkeys(clip for clip, _ in held_out))),
    )
    return evaluation, examples


def _with_examples(clips: Iterator[np.ndarray], examples: dict[int, np.ndarray], step: int) -> Iterator[np.ndarray]:
    """Pass clips on, and keep every `step`-th one, at most `EXAMPLES`."""
    for index, clip in enumerate(clips):
        if index % step == 0 and len(examples) < EXAMPLES:
            examples[index] = clip
        yield clip


def _resolve(settings: Settings, generator: AudioGenerator, prompted: PromptEvaluation | None) -> Settings:
    count = COUNT if settings.limit is None else settings.limit
    count = count if prompted is None else prompted.count
    if count < MIN_CLIPS:
        raise UserError(f"limit {count}", f"must be {MIN_CLIPS} or more, to compare distributions", "generate more")
    steps = generator.model.default_steps if settings.steps is None else settings.steps
    return replace(settings, limit=count, steps=steps, seed=settings.seed or 0)


def choose_segments(
    generator: AudioGenerator, manifest: Manifest, splits: Sequence[str] = SPLITS
) -> tuple[list[Segment], list[Segment]]:
    """Choose the held-out and the training segments with the model's labels and length.

    Raises:
        UserError: too few of them.
    """
    labeled = of_labels(manifest, generator.model.labels)
    chosen = []
    for name, some in (("held-out", splits), ("training", ("train",))):
        clips = labeled.with_splits(*some).clips
        segments = [(clip, start) for clip in clips for start in segment_starts(clip, generator)]
        if len(segments) < MIN_CLIPS:
            problem = f"has {len(segments)} {name} clips of the model's labels and length, at least {MIN_CLIPS} needed"
            raise UserError(manifest.root, problem, "prepare more recordings")
        chosen.append(sorted(segments, key=lambda segment: clip_seed(segment[1], segment[0].id))[:MAX_CLIPS])
    return chosen[0], chosen[1]


def _halves(real: ClipFeatures, sets: dict[str, ClipFeatures]) -> dict[str, dict[str, Spread]]:
    """Distances of held-out, training and generated clips to random halves of the held-out clips."""
    size = len(real) // 2
    axes = Axes.of(sets[TRAINING].embeddings, max(size // LEAST_PER_DIMENSION, 1))
    whole = axes(real.embeddings)
    points = {HELD_OUT: whole} | {name: axes(sets[name].embeddings) for name in (TRAINING, GENERATED)}
    return {
        name: {
            kind: Spread.of(subsampled(distance, some, whole, min(size, len(some))))
            for kind, distance in DISTANCES.items()
        }
        for name, some in points.items()
    }


def _neighbors(
    sets: dict[str, ClipFeatures], points: dict[str, np.ndarray], training: list[Segment], sample_rate: int
) -> list[Neighbor]:
    neighbors = []
    distances, indices = nearest(points[GENERATED], points[TRAINING])
    for clip, distance, index in zip(sets[GENERATED].indices, distances, indices, strict=True):
        recording, start = training[sets[TRAINING].indices[index]]
        neighbors.append(Neighbor(int(clip), recording.id, start / sample_rate, float(distance)))
    return neighbors


def generate_clips(generator: AudioGenerator, settings: Settings) -> Iterator[np.ndarray]:
    """Generate `settings.limit` clips (C, T)."""
    seeds = clip_seeds(settings.seed or 0, settings.limit)
    for start in range(0, len(seeds), _BATCH):
        batch = seeds[start : start + _BATCH]
        yield from generator.generate(clip_seeds=batch, steps=settings.steps, sampler=settings.sampler).samples.numpy()


def segment_starts(clip: Clip, generator: AudioGenerator) -> list[int]:
    """First samples of the segments of a recording, as long as the model's clips: its start, or consecutive ones."""
    rate, samples = generator.sample_rate, generator.model.samples
    step = rate // gcd(rate, clip.sample_rate)  # crops start on the common grid of both rates
    last = clip.samples * rate // clip.sample_rate - samples
    if generator.training.get("from_start") or last < 0:
        return [0]
    return list(range(0, last + 1, -(-samples // step) * step))


def load_segments(manifest: Manifest, segments: Sequence[Segment], generator: AudioGenerator) -> Iterator[np.ndarray]:
    """Load segments of recordings (C, T), padded to the length of the model's clips."""
    rate, samples = generator.sample_rate, generator.model.samples
    for clip, start in segments:
        crop = read_crop(manifest, clip, rate, start, samples, generator.model.channels)
        yield torch.nn.functional.pad(crop, (0, samples - crop.shape[-1])).numpy()


@torch.inference_mode()
def _reconstruct(generator: AudioGenerator, clip: np.ndarray) -> np.ndarray:
    """Encode and decode a clip (C, T) by the model's codec."""
    codec = generator.model.codec
    latents = codec.encode(torch.from_numpy(clip)[None].to(generator.device))
    return codec.decode(latents, clip.shape[-1])[0].cpu().numpy()


def _row(features: ClipFeatures, points: np.ndarray, training: np.ndarray, real: np.ndarray, size: int) -> Row:
    """Results of a set from its features and the projected embeddings of it, the training and the held-out clips."""
    return Row(
        clips=len(features),
        silent=features.silent,
        distances={kind: estimate(distance, points, real, size) for kind, distance in DISTANCES.items()},
        nearest=Spread.of(nearest(points, training)[0]),
        variety=_mean_distance(points) / _mean_distance(training),
        crest_db=float(np.median(features.crest_db)),
        loudness=Spread.of(features.loudness),
        pulse_clarity=Spread.of(features.pulse_clarity) if np.isfinite(features.tempo).any() else None,
        not_finite=features.not_finite,
    )


def _mean_distance(points: np.ndarray) -> float:
    """Mean distance between two different points of (N, K)."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(distances.sum() / (len(points) * (len(points) - 1)))


def memorization(evaluation: Evaluation) -> str:
    """Whether the model may have memorized its training clips, in words, by median distances."""
    generated, training = (evaluation.rows[name].nearest.median for name in (GENERATED, TRAINING))
    if generated >= evaluation.held_out.median:
        return "not closer to training clips than held-out clips are: no sign of memorization"
    if generated >= training:
        return "closer to training clips than held-out clips are, but not closer than training clips are to each other"
    return "closer to training clips than training clips are to each other: the model may have memorized them"
