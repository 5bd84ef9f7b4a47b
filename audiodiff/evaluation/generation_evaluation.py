"""A model of music scored: how far what it makes is from held-out recordings, and whether it copies what it learnt.

There is no recording that a generated clip should equal, so bodies of clips are compared, in an embedding
(`metrics.timbre`) brought to the principal axes of the training clips. Each row's distance is to the held-out clips,
over subsets of one size, which makes rows comparable. The row of the training clips is the floor: how far real clips
are from real ones, of other pieces. Halves of the held-out clips, which share their pieces, are nearer to each other;
how far training and generated clips are from such a half is told beside that.

A model that copies its training clips would reach the floor as well; so the distance from each generated clip to the
nearest training clip is held against that from each held-out clip: copies are nearer. Where clips are stretches of
longer pieces, held-out ones are of other pieces, and real ones of the same pieces would be nearer as well: the training
clips' own row says how near a training clip is to the nearest other one.

A model that works on a codec's latents is scored with its codec, and so is its network at initialization. One more row,
of training clips that went through the codec and back, says how near its latents let anything come; that these are near
to training clips is no copying.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from math import gcd

import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_peak
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.clip_features import Body
from audiodiff.evaluation.figures import sound
from audiodiff.evaluation.held_out import SPLITS, clip_list_hash
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table
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

Place = tuple[Clip, int]  # a recording and the sample at which a stretch of it begins
DISTANCES = {"Frechet": frechet, "kernel": kernel}
TRAINING, GENERATED, UNTRAINED = "training clips (the floor)", "generated", "network at initialization"
CODED = "training clips through the codec"
HELD_OUT = "the other half"
FEWEST = 20  # held-out clips
EXAMPLES = 16
_BATCH = 16


@dataclass(frozen=True)
class Settings:
    """What decides the numbers, besides model and data.

    Attributes:
        count: of generated clips.
        steps: network calls a clip.
        sampler: name, or None for the model's own.
        seed: of all.
        splits: of the manifest that count as held out.
        limit: at most so many training clips, and so many held-out ones, drawn by a hash of their names.
    """

    count: int = 256
    steps: int = 20
    sampler: str | None = None
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    limit: int = 1000


@dataclass(frozen=True)
class Row:
    """One body of clips.

    Attributes:
        clips: that were heard; silent ones and those that are not finite are left out.
        silent: without sound.
        distances: to the held-out clips, by name, with their confidence intervals.
        nearest: to the training clips, of training clips to the nearest other one.
        variety: mean distance between two of its clips, of the training clips' own.
        crest_db: median of peaks above the average power.
        loudness: in LUFS, of clips brought to one peak.
        beat: how regular it is (`metrics.rhythm`), None of clips that are too short to have one.
        not_finite: clips with NaN or infinite samples.
    """

    clips: int
    silent: int
    distances: dict[str, Spread]
    nearest: Spread
    variety: float
    crest_db: float
    loudness: Spread
    beat: Spread | None
    not_finite: int = 0


@dataclass(frozen=True)
class Neighbor:
    """Of a generated clip the nearest training clip: its id, where in it in seconds, and how far."""

    clip: int
    nearest: str
    seconds: float
    distance: float


@dataclass(frozen=True)
class Evaluation:
    """Results.

    Attributes:
        rows: by body.
        held_out: nearest distance of the held-out clips to the training clips.
        held_out_clips: how many.
        subset: clips that a distance is measured between.
        dimensions: of the axes.
        halves: distances to a half of the held-out clips, by body; `HELD_OUT` is the other half.
        neighbors: of each generated clip that is not silent.
        facts, settings, clip_list_hash: what it was made of.
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
        """Of each distance how many times the floor the generated clips have."""
        rows = (self.rows[GENERATED], self.rows[TRAINING])
        return {name: rows[0].distances[name].median / rows[1].distances[name].median for name in DISTANCES}


def evaluate(generator: AudioGenerator, untrained: AudioGenerator | None, manifest: Manifest, settings: Settings):
    """Generate, embed and compare.

    Args:
        generator: under judgement.
        untrained: the same model with fresh weights, or None.
        manifest: of what it was trained on.
        settings: what decides the numbers.

    Returns:
        The report, and some of the generated clips (C, T).

    Raises:
        UserError: too few held-out or generated clips, or a clip that cannot be read.
    """
    if settings.count < FEWEST:
        raise UserError(f"count {settings.count}", f"is below {FEWEST}", "distributions need more clips")
    held_out, training = places(generator, manifest, settings)
    made = made_by(generator, settings)
    examples = list(islice(made, EXAMPLES))
    clips = {TRAINING: recordings(manifest, training, generator), GENERATED: chain(examples, made)}
    if generator.model.codec is not None:
        clips[CODED] = (_coded(generator, clip) for clip in recordings(manifest, training, generator))
    if untrained is not None:
        clips[UNTRAINED] = made_by(untrained, settings)
    bodies = {name: Body.heard(some, generator.sample_rate) for name, some in clips.items()}
    for name, body in bodies.items():
        if len(body) < FEWEST:
            whole = len(body) + body.silent + body.not_finite
            problem = f"{body.silent} of {whole} clips are silent, {body.not_finite} hold NaN or infinite samples"
            raise UserError(name, problem, "train longer, or ask for more")
    real = Body.heard(recordings(manifest, held_out, generator), generator.sample_rate)
    size = min(len(real), *map(len, bodies.values()))
    axes = Axes.of(bodies[TRAINING].embeddings, size // LEAST_PER_DIMENSION)
    apart, placed = axes(real.embeddings), {name: axes(body.embeddings) for name, body in bodies.items()}
    evaluation = Evaluation(
        rows={name: _row(body, placed[name], placed[TRAINING], apart, size) for name, body in bodies.items()},
        held_out=Spread.of(nearest(apart, placed[TRAINING])[0]),
        held_out_clips=len(real),
        subset=size,
        dimensions=axes.basis.shape[1],
        halves=_halves(real, bodies),
        neighbors=_neighbors(bodies, placed, training, generator.sample_rate),
        facts=environment.describe(str(generator.device))
        | {"model": generator.model_hash[:12], "embedding": timbre.NAME},
        settings=settings,
        clip_list_hash=clip_list_hash(list(dict.fromkeys(clip for clip, _ in held_out))),
    )
    return evaluation, examples


def places(generator: AudioGenerator, manifest: Manifest, settings: Settings) -> tuple[list[Place], list[Place]]:
    """Where held-out and training stretches of the model's kinds lie."""
    known = manifest.with_labels(*generator.model.labels)
    held_out, training = (
        _drawn(
            ((clip, start) for clip in known.with_splits(*splits).clips for start in stretches(clip, generator)),
            settings.limit,
        )
        for splits in (settings.splits, ("train",))
    )
    for name, found in (("held-out", held_out), ("training", training)):
        if len(found) < FEWEST:
            problem = f"has {len(found)} {name} clips of the model's kinds and length, fewer than {FEWEST}"
            raise UserError(manifest.root, problem, "prepare more recordings")
    return held_out, training


def _halves(real: Body, bodies: dict[str, Body]) -> dict[str, dict[str, Spread]]:
    """Of held-out, training and generated clips the distances to a half of the held-out ones, drawn again and again."""
    size = len(real) // 2
    axes = Axes.of(bodies[TRAINING].embeddings, max(size // LEAST_PER_DIMENSION, 1))
    whole = axes(real.embeddings)
    placed = {HELD_OUT: whole} | {name: axes(bodies[name].embeddings) for name in (TRAINING, GENERATED)}
    return {
        name: {
            kind: Spread.of(subsampled(distance, mine, whole, min(size, len(mine))))
            for kind, distance in DISTANCES.items()
        }
        for name, mine in placed.items()
    }


def _neighbors(
    bodies: dict[str, Body], placed: dict[str, np.ndarray], training: list[Place], sample_rate: int
) -> list[Neighbor]:
    found = []
    for number, distance, index in zip(
        bodies[GENERATED].numbers, *nearest(placed[GENERATED], placed[TRAINING]), strict=True
    ):
        clip, start = training[bodies[TRAINING].numbers[index]]
        found.append(Neighbor(int(number), clip.id, start / sample_rate, float(distance)))
    return found


def made_by(generator: AudioGenerator, settings: Settings) -> Iterator[np.ndarray]:
    """The clips (C, T) that it makes."""
    seeds = clip_seeds(settings.seed, settings.count)
    for start in range(0, len(seeds), _BATCH):
        batch = seeds[start : start + _BATCH]
        yield from generator.generate(clip_seeds=batch, steps=settings.steps, sampler=settings.sampler).samples.numpy()


def stretches(clip: Clip, generator: AudioGenerator) -> list[int]:
    """Where in a recording what is as long as the model's clips begins: at its start, or one after the other."""
    rate, samples = generator.sample_rate, generator.model.samples
    step = rate // gcd(rate, clip.sample_rate)  # crops begin on the common grid of both rates
    last = clip.samples * rate // clip.sample_rate - samples
    if generator.training.get("from_start") or last < 0:
        return [0]
    return list(range(0, last + 1, -(-samples // step) * step))


def recordings(manifest: Manifest, places: Sequence[Place], generator: AudioGenerator) -> Iterator[np.ndarray]:
    """Stretches of recordings (C, T), each as long as what the model makes."""
    rate, samples = generator.sample_rate, generator.model.samples
    for clip, start in places:
        read = read_crop(manifest, clip, rate, start, samples, generator.model.channels)
        yield torch.nn.functional.pad(read, (0, samples - read.shape[-1])).numpy()


@torch.inference_mode()
def _coded(generator: AudioGenerator, clip: np.ndarray) -> np.ndarray:
    """A clip (C, T) through the codec of a model that has one."""
    codec = generator.model.codec
    latents = codec.encode(torch.from_numpy(clip)[None].to(generator.device))
    return codec.decode(latents, clip.shape[-1])[0].cpu().numpy()


def _drawn(places: Iterable[Place], limit: int) -> list[Place]:
    """At most so many, drawn by a hash of their names."""
    return sorted(places, key=lambda place: clip_seed(place[1], place[0].id))[:limit]


def _row(body: Body, placed: np.ndarray, training: np.ndarray, real: np.ndarray, size: int) -> Row:
    """A body's, of its places on the axes and those of training and held-out clips."""
    distances = {kind: estimate(distance, placed, real, size) for kind, distance in DISTANCES.items()}
    near, variety = Spread.of(nearest(placed, training)[0]), _spread(placed) / _spread(training)
    regular = Spread.of(body.regular) if np.isfinite(body.tempo).any() else None
    crest, loudness = float(np.median(body.crest_db)), Spread.of(body.loudness)
    return Row(len(body), body.silent, distances, near, variety, crest, loudness, regular, body.not_finite)


def _spread(points: np.ndarray) -> float:
    """Mean distance between two different ones of (N, K)."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(distances.sum() / (len(points) * (len(points) - 1)))


def nearness(evaluation: Evaluation) -> str:
    """Whether a model copies, in words: training clips are compared to what lies nearer than held-out clips."""
    mine, training = (evaluation.rows[name].nearest.median for name in (GENERATED, TRAINING))
    if mine >= evaluation.held_out.median:
        return "no nearer to training clips than held-out clips are"
    if mine >= training:
        return "nearer to training clips than held-out clips are, but no nearer than training clips are to each other"
    return "nearer to training clips than these are to each other, and than held-out clips are: it may copy"


def generation_report(evaluation: Evaluation, clips: Sequence[np.ndarray], sample_rate: int) -> Report:
    """The report of an evaluation, with some generated clips (C, T)."""
    settings = evaluation.settings
    audio = [Audio(clip, sample_rate) for clip in normalize_peak(torch.from_numpy(np.stack(clips)), 0.9)]
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in evaluation.ratio.items())
    neighbors = {one.clip: one for one in evaluation.neighbors}
    examples = [
        Example(
            f"{number:04d}",
            f"nearest training clip: {neighbors[number].nearest}" if number in neighbors else "silent",
            {"Generated": sound(clip.samples.T.numpy(), sample_rate)},
        )
        for number, clip in enumerate(audio)
    ]
    return Report(
        title="Generator evaluation",
        facts=" · ".join(f"{key} {value}" for key, value in evaluation.facts.items() if value is not None),
        lead=[
            f"{settings.count} clips, {settings.steps} steps, seed {settings.seed}. Times the distance of training "
            f"clips: {ratios}. In the median, generated clips are {nearness(evaluation)}."
        ],
        sections=[
            Section(
                "Distances",
                f"Distances to the held-out clips (list SHA-256 {evaluation.clip_list_hash}) over subsets of "
                f"{evaluation.subset} in {evaluation.dimensions} dimensions, with 95 % confidence intervals; of all "
                "other columns the median and the middle 95 %.",
                _distances(evaluation),
            ),
            Section(
                "Halves", "Distances to one half of the held-out clips, over random halves.", _halves_table(evaluation)
            ),
            Section("Nearest training clips", table=_neighbors_table(evaluation), examples=examples),
        ],
        data=asdict(evaluation) | {"ratio": evaluation.ratio},
        clips={f"{number:04d}.wav": clip for number, clip in enumerate(audio)},
    )


def _distances(evaluation: Evaluation) -> Table:
    columns = ["Clips", "Number (silent)", *(f"{name} distance ↓" for name in DISTANCES), "Nearest training clip"]
    columns += ["Variety", "Crest, dB", "Loudness, LUFS", "Beat"]
    rows = {}
    for name, row in evaluation.rows.items():
        texts = [f"{row.clips} ({row.silent}{f', {row.not_finite} not finite' if row.not_finite else ''})"]
        texts += [str(row.distances[kind]) for kind in DISTANCES]
        texts += [
            str(row.nearest),
            f"{row.variety:.2f}",
            f"{row.crest_db:.1f}",
            str(row.loudness),
            str(row.beat or "–"),
        ]
        rows[name] = [Cell(text) for text in texts]
    texts = [str(evaluation.held_out_clips), "", "", str(evaluation.held_out), "", "", "", ""]
    rows["held-out clips"] = [Cell(text) for text in texts]
    return Table([(name, "") for name in columns], rows, [GENERATED])


def _halves_table(evaluation: Evaluation) -> Table:
    rows = {name: [Cell(str(value)) for value in found.values()] for name, found in evaluation.halves.items()}
    return Table([("Clips", ""), *((name, "") for name in DISTANCES)], rows, [GENERATED])


def _neighbors_table(evaluation: Evaluation) -> Table:
    shown = [one for one in evaluation.neighbors if one.clip < EXAMPLES]
    rows = {
        f"{one.clip:04d}": [Cell(f"{one.nearest}, at {one.seconds:.1f} s"), Cell(f"{one.distance:.2f}")]
        for one in shown
    }
    return Table([("Clip", ""), ("Training clip", ""), ("Distance", "")], rows)
