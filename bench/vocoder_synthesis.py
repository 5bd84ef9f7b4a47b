"""Held-out clips by every system: rendered in separate processes, scored, and timed together.

The memory of a system is the peak of its rendering process, libraries included. Speed is measured separately, in one
process for all systems: a few clips of all lengths, each by every system before the next clip, so that other load
affects all systems alike; the median over rounds is reported.
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

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import held_out as evaluation_clips
from audiodiff.evaluation.scoring import Pair, score_all
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.evaluation.systems import System, synthesize
from audiodiff.metrics import REPORT_METRICS
from audiodiff.pipelines.vocoder import Vocoder


@dataclass(frozen=True)
class HeldOut:
    """Loaded clips: recordings (T,), mels (M, F) and seeds; arrays, to be passed to processes."""

    recordings: list[np.ndarray]
    mels: list[np.ndarray]
    seeds: list[int]
    sample_rate: int

    @property
    def seconds(self) -> list[float]:
        """Duration of each clip."""
        return [len(recording) / self.sample_rate for recording in self.recordings]

    def inputs(self) -> list[tuple[Tensor, Tensor, int]]:
        """Inputs of a system: recording, mel and seed of each clip."""
        clips = zip(self.recordings, self.mels, self.seeds, strict=True)
        return [(torch.from_numpy(recording), torch.from_numpy(mel), seed) for recording, mel, seed in clips]

    def spread(self, count: int) -> "HeldOut":
        """Up to `count` clips, evenly spaced by length."""
        order = sorted(range(len(self.recordings)), key=lambda i: (len(self.recordings[i]), self.seeds[i]))
        positions = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
        chosen = [order[position] for position in positions]
        parts = ([values[i] for i in chosen] for values in (self.recordings, self.mels, self.seeds))
        return HeldOut(*parts, self.sample_rate)


@dataclass
class Row:
    """Results of a system.

    Attributes:
        name: key of the system.
        contender: implementation that it belongs to.
        label: name in tables.
        note: description.
        memory: peak of the rendering process, MiB.
        scores: [metric] -> one per clip, NaN where undefined.
        speed: seconds of work per second of audio, by type of device.
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
        """Paired improvement over another row: positive is better for every metric."""
        sign = 1 if REPORT_METRICS[metric].better == "higher" else -1
        mine, theirs = (np.array(row.scores[metric], np.float64) for row in (self, other))
        return bootstrap(sign * (mine - theirs))


def load(vocoder: Vocoder, manifest: Manifest, clips: Sequence[Clip], seed: int) -> HeldOut:
    """Load recordings at the vocoder's sample rate and compute their mels, the input of every system."""
    loaded = evaluation_clips.HeldOut.load(vocoder, manifest, clips, seed)
    recordings, mels = ([tensor.numpy() for tensor in tensors] for tensors in (loaded.recordings, loaded.mels))
    return HeldOut(recordings, mels, loaded.seeds, loaded.sample_rate)


def render(
    contender: Contender, name: str, course: Course, work: Path, held_out: HeldOut
) -> tuple[list[np.ndarray], str, str, float]:
    """Waveforms (T,) of a system, its label, note and memory; runs in a process of its own."""
    course.begin()
    systems = contender.systems(course, work, course.device) or contender.systems(course, work, "cpu")
    system = next(one for one in systems if one.name == name)
    waveforms, _ = synthesize(system, held_out.inputs())
    return waveforms, system.label, system.note, peak_memory()


def scored(waveforms: list[np.ndarray], held_out: HeldOut, workers: int | None) -> dict[str, list[float]]:
    """Scores of every clip, by metric."""
    pairs = [
        Pair(recording, {"": waveform}, held_out.sample_rate)
        for recording, waveform in zip(held_out.recordings, waveforms, strict=True)
    ]
    scores = list(score_all(pairs, workers))
    return {metric: [one.scores[""][metric] for one in scores] for metric in REPORT_METRICS}


def speeds(
    contenders: Sequence[Contender], course: Course, work: Path, held_out: HeldOut, device: str, rounds: int
) -> dict[str, float]:
    """Seconds of work per second of audio, by name of every system that is timed on this device."""
    course.begin()
    systems = [system for one in contenders for system in one.systems(course, work, device) if system.timed]
    clips = held_out.inputs()
    for system in systems:
        for clip in clips:
            system.synthesize(*clip)  # warm-up: memory, FFT plans, kernels
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
    """Wall time of one rendering; all systems return CPU tensors, so a GPU has finished."""
    started = time.perf_counter()
    system.synthesize(*clip)
    return time.perf_counter() - started
