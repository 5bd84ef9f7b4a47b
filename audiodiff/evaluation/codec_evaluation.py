"""Evaluation of a codec: how well held-out recordings are reconstructed, and at which bit rate.

Latents are real numbers; their bit rate is that of how they are stored. There is a row for latents as they are, and
for latents rounded to a few bits: evenly between -4 and 4, which nearly all values of a standard normal distribution
lie within. The baseline stores as many plain samples per second, without any network: the recording at a lower rate.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, gcd, nan

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.io import Audio, resample
from audiodiff.audio.spectral import multi_resolution_stft, si_sdr
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.figures import sound
from audiodiff.evaluation.held_out import SPLITS, check_limit, clip_list_hash
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table
from audiodiff.evaluation.statistics import LEVEL, Interval, bootstrap
from audiodiff.files import short_name
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.models.codec import Codec

BITS = (8, 6, 4)
UNQUANTIZED = "latents as they are"
METRICS = {"stft": "STFT distance ↓", "si_sdr": "SI-SDR, dB ↑", "pesq": "PESQ ↑"}
_LARGEST = 4.0  # latent value when rounded
_EXAMPLES = 4


@dataclass(frozen=True)
class Settings:
    """What decides the numbers.

    Attributes:
        splits: of the manifest that are held out.
        limit: maximum number of clips, the first of them; None: all.
        seconds: evaluated of each clip, from its start.
        baselines: whether plain samples, as many as there are latent values, are evaluated as well.
    """

    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    seconds: float = 10.0
    baselines: bool = True


@dataclass(frozen=True)
class Row:
    """One way to store recordings.

    Attributes:
        kbit_per_s: of all channels; None where values are real numbers.
        scores: by metric: multi-resolution STFT distance, SI-SDR in dB, and PESQ of speech, None of other sounds.
    """

    kbit_per_s: float | None
    scores: dict[str, Interval | None]


@dataclass(frozen=True)
class Evaluation:
    """Results by row, and how they came about; `examples` are (id, recording, reconstruction)."""

    rows: dict[str, Row]
    clips: int
    facts: dict
    settings: Settings
    clip_list_hash: str
    examples: list[tuple[str, Tensor, Tensor]]


@torch.inference_mode()
def evaluate(codec: Codec, manifest: Manifest, settings: Settings, digest: str = "") -> Evaluation:
    """Reconstruct held-out recordings in every way and score them.

    Args:
        codec: the model to evaluate.
        manifest: of recordings.
        settings: what decides the numbers.
        digest: of the codec's checkpoint.

    Raises:
        UserError: a limit below 1, no held-out clip, or one that cannot be read.
    """
    check_limit(settings.limit)
    clips = manifest.with_splits(*settings.splits).clips[: settings.limit]
    if not clips:
        raise UserError(manifest.root, f"holds no clip in {' or '.join(settings.splits)}", "choose another --split")
    speech = all(clip.text for clip in clips)
    values_per_s = codec.sample_rate * codec.channels / codec.compression
    ways = _ways(codec, values_per_s, settings.baselines)
    device = codec.network.mean.device
    scores: dict[str, list] = {name: [] for name in ways}
    examples = []
    for clip in clips:
        recording = _recording(codec, manifest, clip, settings.seconds)
        for name, (_, way) in ways.items():
            reconstruction = way(recording[None].to(device))[0].cpu()
            scores[name].append(_scores(recording, reconstruction, codec.sample_rate, speech))
            if name == UNQUANTIZED and len(examples) < _EXAMPLES:
                examples.append((clip.id, recording, reconstruction))
    rows = {}
    for name, values in scores.items():
        intervals = dict(zip(METRICS, map(bootstrap, np.array(values).T), strict=True))
        rows[name] = Row(ways[name][0], intervals if speech else intervals | {"pesq": None})
    facts = environment.describe(str(device)) | {"codec": digest[:12]}
    facts |= {"latent_numbers_per_s": values_per_s, "samples_per_number": codec.compression}
    return Evaluation(rows, len(clips), facts, settings, clip_list_hash(clips), examples)


def _ways(
    codec: Codec, values_per_s: float, baselines: bool
) -> dict[str, tuple[float | None, Callable[[Tensor], Tensor]]]:
    """By name, the kbit/s of a way to store recordings, None for real numbers, and its reconstruction."""
    ways = {UNQUANTIZED: (None, lambda x: codec.decode(codec.encode(x), x.shape[-1]))}
    for bits in BITS:
        ways[f"latents of {bits} bits"] = (values_per_s * bits / 1000, lambda x, bits=bits: _quantized(codec, x, bits))
    if baselines:
        ways["as many plain samples of 16 bits"] = (values_per_s * 16 / 1000, lambda x: _downsampled(codec, x))
    return ways


def _recording(codec: Codec, manifest: Manifest, clip: Clip, seconds: float) -> Tensor:
    samples = min(round(seconds * codec.sample_rate), ceil(clip.seconds * codec.sample_rate))
    return read_crop(manifest, clip, codec.sample_rate, 0, samples, codec.channels)


def _quantized(codec: Codec, x: Tensor, bits: int) -> Tensor:
    step = 2 * _LARGEST / (2**bits - 1)
    latents = ((codec.encode(x).clamp(-_LARGEST, _LARGEST) + _LARGEST) / step).round() * step - _LARGEST
    return codec.decode(latents, x.shape[-1])


def _downsampled(codec: Codec, x: Tensor) -> Tensor:
    rate = max(round(codec.sample_rate / codec.compression), 1)
    whole = codec.sample_rate // gcd(codec.sample_rate, rate)  # resampling keeps the time if it begins and ends there
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % whole))
    return resample(resample(padded, codec.sample_rate, rate), rate, codec.sample_rate)[..., : x.shape[-1]]


def _scores(recording: Tensor, reconstruction: Tensor, sample_rate: int, speech: bool) -> tuple[float, float, float]:
    audible = recording.square().mean(-1) > 1e-8
    if not audible.any():
        return nan, nan, nan
    estimate, reference = reconstruction[audible], recording[audible]
    pesq = nan
    if speech:
        pesq = pesq_wb(recording.mean(0).numpy(), reconstruction.mean(0).numpy(), sample_rate)
    stft = float(multi_resolution_stft(estimate, reference).mean())
    return stft, float(si_sdr(estimate, reference).mean()), pesq


def codec_report(evaluation: Evaluation, sample_rate: int) -> Report:
    """The report of an evaluation."""
    rows = {
        name: [Cell("–" if row.kbit_per_s is None else f"{row.kbit_per_s:.1f}"), *map(_cell, row.scores.values())]
        for name, row in evaluation.rows.items()
    }
    columns = [("Stored", ""), ("kbit/s", ""), *((label, "") for label in METRICS.values())]
    clips, examples = {}, []
    for name, recording, reconstruction in evaluation.examples:
        stem = short_name(name.replace("/", "_"))
        clips[f"{stem}.wav"] = Audio(reconstruction, sample_rate)
        clips[f"{stem}_original.wav"] = Audio(recording, sample_rate)
        sounds = {"Recording": recording, "Reconstruction": reconstruction}
        examples.append(Example(name, "", {label: sound(x.T.numpy(), sample_rate) for label, x in sounds.items()}))
    data = {key: value for key, value in vars(evaluation).items() if key not in ("rows", "settings", "examples")}
    return Report(
        title="Codec evaluation",
        facts=" · ".join(f"{key} {value}" for key, value in evaluation.facts.items() if value is not None),
        lead=[
            f"{evaluation.clips} held-out clips (list SHA-256 {evaluation.clip_list_hash}), the first "
            f"{evaluation.settings.seconds:g} s of each; means with their {LEVEL:.0%} intervals."
        ],
        sections=[
            Section("Reconstruction", table=Table(columns, rows)),
            Section("Examples", f"Reconstructed from {UNQUANTIZED}.", examples=examples),
        ],
        data=data
        | {"settings": asdict(evaluation.settings)}
        | {"rows": {name: {"kbit_per_s": row.kbit_per_s} | _plain(row) for name, row in evaluation.rows.items()}},
        clips=clips,
    )


def _plain(row: Row) -> dict:
    return {name: interval and asdict(interval) for name, interval in row.scores.items()}


def _cell(interval: Interval | None) -> Cell:
    if interval is None or not interval.clips:
        return Cell("–")
    return Cell(f"{interval.mean:.2f}", (f"{interval.low:.2f} to {interval.high:.2f}",), interval)
