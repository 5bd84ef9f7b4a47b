"""Held-out clips by every system: rendered in a process of its own each, scored, and timed side by side.

Rendering for the metrics tells the memory that a system needs: the most that its process held, libraries included.
Speed is measured apart, in one process for all: a few clips of all lengths, clip after clip through every system before
the next, so that a disturbance hits all of them; the median of the rounds counts.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from vocoder_training import Contender, Course, peak_memory

from audiodiff.audio import io
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.evaluation.scoring import Pair, score_all
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.evaluation.systems import System, synthesize
from audiodiff.metrics import REPORT_METRICS
from audiodiff.pipelines.vocoder import Vocoder


@dataclass(frozen=True)
class HeldOut:
    """The clips, loaded: recordings (T,), their mels (M, F), seeds; arrays, since processes pass them on."""

    recordings: list[np.ndarray]
    mels: list[np.ndarray]
    seeds: list[int]
    sample_rate: int

    @property
    def seconds(self) -> list[float]:
        """Of audio, for each clip."""
        return [len(recording) / self.sample_rate for recording in self.recordings]

    def tensors(self) -> tuple[list[Tensor], list[Tensor], list[int]]:
        """As systems take them."""
        recordings, mels = ([torch.from_numpy(array) for array in arrays] for arrays in (self.recordings, self.mels))
        return recordings, mels, self.seeds

    def spread(self, count: int) -> "HeldOut":
        """At most `count` of them, evenly over their lengths."""
        order = sorted(range(len(self.recordings)), key=lambda i: (len(self.recordings[i]), self.seeds[i]))
        places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
        chosen = [order[place] for place in places]
        parts = ([values[i] for i in chosen] for values in (self.recordings, self.mels, self.seeds))
        return HeldOut(*parts, self.sample_rate)


@dataclass
class Row:
    """A system's results.

    Attributes:
        name: of the system.
        contender: whose it is.
        label: how it is called.
        note: what it is, in plain words.
        memory: peak of the process that rendered, MiB.
        scores: [metric] -> one a clip, NaN where undefined.
        speed: seconds of work per second of audio, by kind of device.
    """

    name: str
    contender: str
    label: str
    note: str
    memory: float
    scores: dict[str, list[float]]
    speed: dict[str, float] = field(default_factory=dict)

    def interval(self, metric: str) -> Interval:
        """Mean over clips with its bootstrap interval."""
        return bootstrap(np.array(self.scores[metric], np.float64))

    def gain(self, other: "Row", metric: str) -> Interval:
        """How much better than the other, clip by clip: above 0 is better, whatever the metric's direction."""
        sign = 1 if REPORT_METRICS[metric].better == "higher" else -1
        mine, theirs = (np.array(row.scores[metric], np.float64) for row in (self, other))
        return bootstrap(sign * (mine - theirs))


def load(vocoder: Vocoder, manifest: Manifest, clips: Sequence[Clip], seed: int) -> HeldOut:
    """Recordings at the vocoder's rate and their mels as it takes them: everybody is told the same."""
    rate = vocoder.sample_rate
    recordings = [io.read(manifest.path(clip), rate).samples.clamp(-1, 1) for clip in clips]
    mels = [vocoder.mel(io.Audio(samples, rate)).numpy() for samples in recordings]
    seeds = [clip_seed(seed, clip.id) for clip in clips]
    return HeldOut([samples.numpy() for samples in recordings], mels, seeds, rate)


def render(
    contender: Contender, name: str, course: Course, work: Path, held_out: HeldOut
) -> tuple[list[np.ndarray], str, str, float]:
    """Waveforms, each (T,), by the system of this name, its label, note and memory: for a process of its own."""
    course.begin()
    systems = contender.systems(course, work, course.device) or contender.systems(course, work, "cpu")
    system = next(one for one in systems if one.name == name)
    waveforms, _ = synthesize(system, *held_out.tensors())
    return waveforms, system.label, system.note, peak_memory()


def scored(waveforms: list[np.ndarray], held_out: HeldOut, workers: int | None) -> dict[str, list[float]]:
    """[metric] -> score of every clip."""
    pairs = [
        Pair(recording, {"": made}, held_out.sample_rate)
        for recording, made in zip(held_out.recordings, waveforms, strict=True)
    ]
    scored = list(score_all(pairs, workers))
    return {metric: [verdict.scores[""][metric] for verdict in scored] for metric in REPORT_METRICS}


def speeds(
    contenders: Sequence[Contender], course: Course, work: Path, held_out: HeldOut, device: str, rounds: int
) -> dict[str, float]:
    """Seconds of work per second of audio of every system that is timed on this device, by name."""
    course.begin()
    systems = [system for one in contenders for system in one.systems(course, work, device) if system.timed]
    clips = list(zip(*held_out.tensors(), strict=True))
    for system in systems:
        for clip in clips:
            system.synthesize(*clip)  # warm: memory, plans of transforms, kernels
    found: dict[str, list[float]] = {system.name: [] for system in systems}
    for _ in range(rounds):
        spent = dict.fromkeys(found, 0.0)
        for clip in clips:
            for system in systems:
                spent[system.name] += _seconds_of(system, clip)
        for name, seconds in spent.items():
            found[name].append(seconds / sum(held_out.seconds))
    return {name: statistics.median(factors) for name, factors in found.items()}


def _seconds_of(system: System, clip: tuple[Tensor, Tensor, int]) -> float:
    """Wall time of one rendering; all systems answer on the CPU, so that a GPU is done by then."""
    started = time.perf_counter()
    system.synthesize(*clip)
    return time.perf_counter() - started
