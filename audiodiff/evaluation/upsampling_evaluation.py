"""Evaluation of an upsampler: held-out recordings are resampled to half its rate, and each system upsamples them.

The baselines need no training: sinc interpolation leaves the upper band empty, and spectral folding mirrors the lower
band into it, attenuated. Word error rates are those of Whisper tiny.en on the recordings with an English text.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from audiodiff.audio.band import highpass
from audiodiff.audio.io import Audio, resample
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.evaluation import environment
from audiodiff.evaluation.figures import sound
from audiodiff.evaluation.held_out import Settings, choose, clip_list_hash
from audiodiff.evaluation.language import language
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table, format_facts
from audiodiff.evaluation.statistics import LEVEL, Interval, bootstrap
from audiodiff.metrics import METRICS, Metric, require_all
from audiodiff.metrics.lsd import log_spectral_distance
from audiodiff.pipelines.upsampler import Upsampler

SPEECH_METRICS = ("pesq", "stoi", "wer")
FOLDED_DB = -10.0  # of the mirrored band
EXAMPLES = 6
RECORDING = "recording"
System = Callable[[Audio, int], Tensor]


@dataclass(frozen=True)
class Row:
    """Results of one system: scores by metric, and seconds of audio per second of work (None: not timed)."""

    scores: dict[str, Interval]
    times_real_time: float | None


@dataclass(frozen=True)
class Evaluation:
    """Results by system, and how they were computed; `examples` are (id, {system: waveform (T,)})."""

    rows: dict[str, Row]
    metrics: dict[str, Metric]
    clips: int
    source_rate: int
    facts: dict
    settings: Settings
    clip_list_hash: str
    examples: list[tuple[str, dict[str, np.ndarray]]]


def metrics(cutoff: float, names: Sequence[str]) -> dict[str, Metric]:
    """Log-spectral distances of all and of the generated band, and metrics of these names."""
    words = "Root mean square difference of the log10 power spectra {}, averaged over frames; 0 is identical."
    band = partial(log_spectral_distance, above=cutoff)
    own = [
        Metric("lsd", "LSD", "", "lower", log_spectral_distance, 3, words.format("of all frequencies")),
        Metric("lsd_new", "LSD of the new band", "", "lower", band, 3, words.format(f"above {cutoff:g} Hz")),
    ]
    return {metric.name: metric for metric in own} | {name: METRICS[name] for name in names}


def fold(waveform: Tensor, cutoff: float, sample_rate: int, decibels: float = FOLDED_DB) -> Tensor:
    """A band-limited waveform (T,) with its band mirrored at the cutoff, attenuated (spectral folding)."""
    turns = 2 * cutoff / sample_rate * torch.arange(waveform.shape[-1], dtype=torch.float64)
    mirrored = waveform * (2 * math.pi * turns).cos().to(waveform)
    return waveform + 10 ** (decibels / 20) * highpass(mirrored[None], torch.tensor([cutoff]), sample_rate)[0]


def systems(upsamplers: Mapping[str, tuple[Upsampler, int | None]], settings: Settings) -> dict[str, System]:
    """What makes a full-band waveform (T,) of a recording at a lower rate and a seed, by name.

    Args:
        upsamplers: models and their numbers of steps, by name.
        settings: sampler, and whether to include systems without training.
    """
    rate = next(iter(upsamplers.values()))[0].sample_rate

    def sinc(audio: Audio, seed: int) -> Tensor:
        return resample(audio.samples, audio.sample_rate, rate)

    def network(upsampler: Upsampler, steps: int | None, audio: Audio, seed: int) -> Tensor:
        return upsampler.upsample(audio, steps, clip_seeds=[seed], sampler=settings.sampler).samples

    found: dict[str, System] = {}
    if settings.baselines:
        found["sinc interpolation"] = sinc
        found["spectral folding"] = lambda audio, seed: fold(sinc(audio, seed), audio.sample_rate / 2, rate)
    return found | {name: partial(network, *chosen) for name, chosen in upsamplers.items()}


def evaluate(
    upsamplers: Mapping[str, tuple[Upsampler, int | None]],
    manifest: Manifest,
    settings: Settings,
    source_rate: int | None = None,
    names: Sequence[str] | None = None,
    more: Sequence[Metric] = (),
    quiet: bool = False,
) -> Evaluation:
    """Upsample held-out recordings by every system and score them.

    Args:
        upsamplers: models of one sample rate and their numbers of steps (None: the model's own), by name.
        manifest: corpus with the held-out clips.
        settings: sampler, seed, splits, limit and baselines.
        source_rate: Hz that recordings are resampled to; None: half of the models' rate.
        names: further metrics, keys of `METRICS`; None: those of speech, if all clips have a text, else none.
        more: metrics that are not in `METRICS`.
        quiet: no progress bar.

    Raises:
        UserError: a metric's package is missing, no clips, or a clip that cannot be read.
    """
    clips, _ = choose(manifest, settings.splits, settings.limit)
    names = (SPEECH_METRICS if all(clip.text for clip in clips) else ()) if names is None else names
    require_all(names)
    first, _ = next(iter(upsamplers.values()))
    source_rate = source_rate or first.sample_rate // 2
    scored = metrics(source_rate / 2, names) | {metric.name: metric for metric in more}
    chosen = systems(upsamplers, settings)
    work = dict.fromkeys(chosen, 0.0)
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in (RECORDING, *chosen)}
    weights, examples, seconds = [], [], 0.0
    for clip in tqdm(clips, desc="upsampling", unit="clip", disable=quiet):
        recording = _read(manifest, clip, first.sample_rate)
        source = Audio(resample(recording, first.sample_rate, source_rate), source_rate)
        outputs, text = {RECORDING: recording.numpy()}, clip.text if language(clip) == "en" else None
        for name, system in chosen.items():
            started = time.perf_counter()
            waveform = system(source, clip_seed(settings.seed or 0, clip.id))[: len(recording)]
            work[name] += time.perf_counter() - started
            outputs[name] = torch.nn.functional.pad(waveform, (0, len(recording) - len(waveform))).clamp(-1, 1).numpy()
        pair = (recording.numpy(), first.sample_rate, text)
        weights.append({name: metric.weight(*pair) for name, metric in scored.items()})
        for name, output in outputs.items():
            scores[name].append({key: one(pair[0], output, *pair[1:]) for key, one in scored.items()})
        seconds += clip.seconds
        if len(examples) < EXAMPLES:
            examples.append((clip.id, outputs))

    def intervals(found: list[dict[str, float]]) -> dict[str, Interval]:
        columns = {key: [[one[key] for one in rows] for rows in (found, weights)] for key in scored}
        return {key: bootstrap(*map(np.array, column)) for key, column in columns.items()}

    speeds = {name: seconds / max(spent, 1e-9) for name, spent in work.items()}
    rows = {name: Row(intervals(found), speeds.get(name)) for name, found in scores.items()}
    facts = environment.describe(first.device) | {
        "parameters": sum(parameter.numel() for parameter in first.model.parameters()),
        "models": {name: upsampler.model_hash[:12] for name, (upsampler, _) in upsamplers.items()},
        "steps": {name: steps or upsampler.model.default_steps for name, (upsampler, steps) in upsamplers.items()},
    }
    return Evaluation(rows, scored, len(clips), source_rate, facts, settings, clip_list_hash(clips), examples)


def _read(manifest: Manifest, clip: Clip, sample_rate: int) -> Tensor:
    """A clip (T,) at a sample rate."""
    return read_crop(manifest, clip, sample_rate, 0, ceil(clip.seconds * sample_rate)).clamp(-1, 1)


def upsampling_report(evaluation: Evaluation, sample_rate: int) -> Report:
    """Build the report of an evaluation."""
    metrics = evaluation.metrics
    columns = [("System", ""), *((metric.label, metric.direction) for metric in metrics.values())]
    columns.append(("Speed", "times real time"))
    table = {
        name: [*(_cell(row.scores[key], metric) for key, metric in metrics.items()), _speed(row.times_real_time)]
        for name, row in evaluation.rows.items()
    }
    rows = {
        name: {"times_real_time": row.times_real_time} | {key: asdict(one) for key, one in row.scores.items()}
        for name, row in evaluation.rows.items()
    }
    examples = [
        Example(name, "", {system: sound(waveform, sample_rate) for system, waveform in outputs.items()})
        for name, outputs in evaluation.examples
    ]
    return Report(
        title="Upsampling evaluation",
        facts=format_facts(evaluation.facts),
        lead=[
            f"{evaluation.clips} held-out recordings (list SHA-256 {evaluation.clip_list_hash}) were resampled to "
            f"{evaluation.source_rate} Hz and brought back to {sample_rate} Hz; means with their {LEVEL:.0%} "
            "confidence intervals."
        ],
        sections=[
            Section("Scores", table=Table(columns, table, list(evaluation.facts["models"]))),
            Section("Metrics", terms={metric.label: metric.meaning for metric in metrics.values()}),
            Section("Examples", examples=examples),
        ],
        data={key: value for key, value in vars(evaluation).items() if key not in ("examples", "metrics")}
        | {"settings": asdict(evaluation.settings), "rows": rows, "sample_rate": sample_rate}
        | {"metrics": {name: metric.describe() for name, metric in metrics.items()}},
    )


def _cell(interval: Interval, metric: Metric) -> Cell:
    if not interval.clips:
        return Cell("–", ("no clip is scored",))
    ends = f"{metric.format(interval.low)} to {metric.format(interval.high)}"
    return Cell(metric.format(interval.mean), (ends,), interval)


def _speed(factor: float | None) -> Cell:
    return Cell("–" if factor is None else f"{factor:.{0 if factor >= 10 else 1}f}×")
