"""Uncertainty: how much the output of a model varies with its seed, over time, frequency and segments.

A diffusion model draws samples: what the mel or the text leaves open differs from seed to seed. Each held-out clip is
synthesized with several seeds. The spread of the log-mel is its standard deviation over seeds (with Bessel's
correction), in dB, of each band and frame; of a clip it is the root mean square over both, of frames within `RANGE` dB
of the loudest, since near silence decibels vary without being heard. Metrics are computed on segments of `SEGMENT`
seconds, and spread likewise. The figure shows means over seeds with a band of one standard deviation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from audiodiff.audio import io
from audiodiff.audio.mel.spec import MelSpec
from audiodiff.data.manifest import Clip
from audiodiff.evaluation import environment
from audiodiff.evaluation.bias import median_pitch
from audiodiff.evaluation.mel_spread import RANGE, audible, decibels, mel_spread
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table
from audiodiff.evaluation.statistics import LEVEL, Interval, bootstrap
from audiodiff.evaluation.uncertainty_figure import figure
from audiodiff.metrics import METRICS

SEGMENT = 2.0  # s; PESQ needs a quarter of a second of speech at least
EXAMPLES = 4
_PITCH = 100.0  # Hz, of which pitch is counted in semitones
_REFERENCE = ("pesq", "mr_stft")  # of segments, where a recording says what the clip should be


@dataclass(frozen=True)
class Spread:
    """A clip that was synthesized with several seeds.

    Attributes:
        clip: the clip.
        mel: mean log-mel (M, F) in dB.
        deviation: its standard deviation over seeds (M, F) in dB.
        metrics: by name, (seeds, segments), NaN where undefined.
    """

    clip: Clip
    mel: np.ndarray
    deviation: np.ndarray
    metrics: dict[str, np.ndarray]

    @property
    def decibels(self) -> float:
        """Root mean square of the deviation over bands and audible frames."""
        return decibels(self.deviation, audible(self.mel))

    def metric(self, name: str) -> float:
        """Root mean square of a metric's standard deviation over the segments where all seeds have it."""
        values = self.metrics[name]
        known = values[:, np.isfinite(values).all(0)]
        return float(np.sqrt(known.var(0, ddof=1).mean())) if known.size else float("nan")


def measure(clip: Clip, takes: np.ndarray, recording: np.ndarray | None, spec: MelSpec) -> Spread:
    """The spread of a clip.

    Args:
        clip: the clip.
        takes: (seeds, T), one of each seed.
        recording: (T,) what it should be, or None.
        spec: of the mel, at the rate of the takes.
    """
    rate, size = spec.sample_rate, round(SEGMENT * spec.sample_rate)
    names: dict[str, Callable[[np.ndarray, int], float]] = {
        "level": lambda samples, start: float(10 * np.log10(max(np.square(samples).mean(), 1e-10))),
        "pitch": lambda samples, start: float(12 * np.log2(median_pitch(samples, rate) / _PITCH)),
    }
    if recording is not None:
        names |= {
            name: lambda samples, start, name=name: METRICS[name](
                recording[start : start + len(samples)], samples, rate, None
            )
            for name in _REFERENCE
        }
    starts = range(0, max(takes.shape[1] - size // 2, 1), size)
    metrics = {
        name: np.array([[score(take[start : start + size], start) for start in starts] for take in takes])
        for name, score in names.items()
    }
    return Spread(clip, *mel_spread(takes, spec), metrics)


def uncertainty_report(
    title: str, clips: Sequence[tuple[Clip, np.ndarray, np.ndarray | None]], spec: MelSpec, model: dict[str, Any]
) -> Report:
    """The report of clips, each with its takes (seeds, T) and its recording (T,) or None."""
    found = [measure(*one, spec) for one in tqdm(clips, desc="measuring", unit="clip", disable=None)]
    seeds = len(clips[0][1])
    names = list(found[0].metrics)
    columns = {
        "mel": ("Log-mel (dB)", [one.decibels for one in found]),
        **{name: (_HEADINGS[name], [one.metric(name) for one in found]) for name in names},
    }
    intervals = {name: bootstrap(np.array(values)) for name, (_, values) in columns.items()}
    facts = environment.describe()
    order = np.argsort([one.decibels for one in found])
    positions = np.linspace(0, len(found) - 1, min(EXAMPLES, len(found))).astype(int)
    examples = [_example(found[number], clips[number][1], spec) for number in order[positions]]
    return Report(
        title="Spread over seeds",
        facts=f"{facts['date'][:16].replace('T', ' ')} UTC · model {model['hash'][:12]} · {seeds} seeds",
        lead=[
            f"{title}, {len(found)} held-out clips, each with {seeds} seeds: standard deviation over seeds "
            f"{intervals['mel'].mean:.2f} dB of the log-mel ({intervals['mel'].low:.2f} to "
            f"{intervals['mel'].high:.2f}, {LEVEL:.0%} interval over clips)."
        ],
        sections=[
            Section("Standard deviation over seeds", table=_table(found, columns, intervals)),
            Section("Clips", _CLIPS, examples=examples),
            Section("Method", _METHOD.format(seconds=SEGMENT, range=RANGE)),
        ],
        data={
            "report": "audiodiff uncertainty",
            "environment": facts,
            "model": model,
            "seeds": seeds,
            "means": {name: vars(interval) for name, interval in intervals.items()},
            "clips": [
                {
                    "id": one.clip.id,
                    "mel_db": one.decibels,
                    "by_frame_db": np.sqrt(np.square(one.deviation).mean(0)),
                    "segments": {name: values.T.tolist() for name, values in one.metrics.items()},
                }
                for one in found
            ],
        },
    )


_HEADINGS = {
    "level": "Level (dB)",
    "pitch": "Pitch (semitones)",
    "pesq": "PESQ-WB (MOS)",
    "mr_stft": "Multi-resolution STFT",
}
_CLIPS = "From the least to the most varying: mean log-mel, its deviation, and level and metrics with one deviation."
_METHOD = (
    "Standard deviations are over seeds, with Bessel's correction; of a clip, the root mean square over bands and "
    "frames within {range:g} dB of the loudest frame, of a metric over segments of {seconds:g} s. The first row is the "
    "mean over clips with its interval (bootstrap)."
)


def _table(
    found: Sequence[Spread], columns: dict[str, tuple[str, list[float]]], intervals: dict[str, Interval]
) -> Table:
    rows = {
        "all": [
            Cell(f"{interval.mean:.3f}", (f"{interval.low:.3f} to {interval.high:.3f}",), interval)
            if interval.clips
            else Cell("–")
            for interval in intervals.values()
        ]
    }
    for number, one in enumerate(found):
        values = [values[number] for _, values in columns.values()]
        rows[one.clip.id] = [Cell(f"{value:.3f}" if np.isfinite(value) else "–") for value in values]
    return Table([("Clip", ""), *((heading, "") for heading, _ in columns.values())], rows, ["all"])


def _example(spread: Spread, takes: np.ndarray, spec: MelSpec) -> Example:
    from audiodiff.evaluation.figures import sound

    sounds = {f"Seed {seed}": sound(take, spec.sample_rate) for seed, take in enumerate(takes[:3])}
    note = f"{spread.decibels:.2f} dB over {len(takes)} seeds"
    picture = figure(spread.mel, spread.deviation, spread.metrics, spec.hop_length / spec.sample_rate, SEGMENT)
    return Example(spread.clip.id, note, sounds, picture=picture)


def takes_of(synthesize: Callable[[int], io.Audio], seeds: int, length: int | None = None) -> np.ndarray:
    """Takes (seeds, T) of a clip, cut or lengthened to `length` samples, or to those of the shortest."""
    samples = [synthesize(seed).samples.reshape(-1).clamp(-1, 1).numpy() for seed in range(seeds)]
    size = min(map(len, samples)) if length is None else length
    return np.stack([np.pad(one, (0, max(size - len(one), 0)))[:size] for one in samples])
