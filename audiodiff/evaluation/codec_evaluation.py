"""Evaluation of a codec: how well held-out recordings are reconstructed, and at which bit rate.

Latents are real numbers; their bit rate is that of their storage. Rows are latents without quantization, and latents
quantized uniformly to a few bits between -4 and 4, the range of nearly all values of a standard normal distribution.
The baseline needs no network: the recording at a lower sample rate, with as many 16-bit samples as latent values.
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
from audiodiff.evaluation.held_out import Settings, check_limit, clip_list_hash
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table, format_facts
from audiodiff.evaluation.statistics import LEVEL, Interval, bootstrap
from audiodiff.files import short_name
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.models.codec import Codec

BITS = (8, 6, 4)
UNQUANTIZED = "latents without quantization"
METRICS = {"stft": "STFT distance ↓", "si_sdr": "SI-SDR (dB) ↑", "pesq": "PESQ-WB (MOS) ↑"}
SECONDS = 10.0  # evaluated of each clip, from its start
EXAMPLES = 4
_RANGE = 4.0  # of quantized latents


@dataclass(frozen=True)
class Row:
    """Results of one representation of the recordings.

    Attributes:
        kbit_per_s: bit rate of all channels; None without quantization.
        scores: by metric, a key of `METRICS`; PESQ only of speech, else None.
    """

    kbit_per_s: float | None
    scores: dict[str, Interval | None]


@dataclass(frozen=True)
class Evaluation:
    """Results by row, and how they were computed; `examples` are (id, recording, reconstruction)."""

    rows: dict[str, Row]
    clips: int
    facts: dict
    settings: Settings
    clip_list_hash: str
    examples: list[tuple[str, Tensor, Tensor]]


@torch.inference_mode()
def evaluate(codec: Codec, manifest: Manifest, settings: Settings, digest: str = "") -> Evaluation:
    """Reconstruct held-out recordings from every representation and score them.

    Args:
        codec: the model to evaluate.
        manifest: corpus with the held-out clips.
        settings: splits, limit and baselines; nothing else applies to a codec.
        digest: hash of the codec's checkpoint.

    Raises:
        UserError: a limit below 1, no held-out clip, or one that cannot be read.
    """
    check_limit(settings.limit)
    clips = manifest.with_splits(*settings.splits).clips[: settings.limit]
    if not clips:
        raise UserError(manifest.root, f"has no clip in {' or '.join(settings.splits)}", "choose another --split")
    speech = all(clip.text for clip in clips)
    values_per_s = codec.sample_rate * codec.channels / codec.compression
    representations = _representations(codec, values_per_s, settings.baselines)
    device = codec.network.mean.device
    scores: dict[str, list] = {name: [] for name in representations}
    examples = []
    for clip in clips:
        recording = _read(codec, manifest, clip)
        for name, (_, reconstruct) in representations.items():
            reconstruction = reconstruct(recording[None].to(device))[0].cpu()
            scores[name].append(_scores(recording, reconstruction, codec.sample_rate, speech))
            if name == UNQUANTIZED and len(examples) < EXAMPLES:
                examples.append((clip.id, recording, reconstruction))
    rows = {}
    for name, values in scores.items():
        intervals = dict(zip(METRICS, map(bootstrap, np.array(values).T), strict=True))
        rows[name] = Row(representations[name][0], intervals if speech else intervals | {"pesq": None})
    facts = environment.describe(str(device)) | {"codec": digest[:12]}
    facts |= {"latent_values_per_s": values_per_s, "samples_per_value": codec.compression}
    return Evaluation(rows, len(clips), facts, settings, clip_list_hash(clips), examples)


def _representations(
    codec: Codec, values_per_s: float, baselines: bool
) -> dict[str, tuple[float | None, Callable[[Tensor], Tensor]]]:
    """By name: bit rate in kbit/s (None without quantization), and a function that reconstructs a recording."""
    found = {UNQUANTIZED: (None, lambda x: codec.decode(codec.encode(x), x.shape[-1]))}
    for bits in BITS:
        found[f"latents of {bits} bits"] = (values_per_s * bits / 1000, lambda x, bits=bits: _quantized(codec, x, bits))
    if baselines:
        found["as many samples of 16 bits"] = (values_per_s * 16 / 1000, lambda x: _downsampled(codec, x))
    return found


def _read(codec: Codec, manifest: Manifest, clip: Clip) -> Tensor:
    samples = min(round(SECONDS * codec.sample_rate), ceil(clip.seconds * codec.sample_rate))
    return read_crop(manifest, clip, codec.sample_rate, 0, samples, codec.channels)


def _quantized(codec: Codec, x: Tensor, bits: int) -> Tensor:
    step = 2 * _RANGE / (2**bits - 1)
    latents = ((codec.encode(x).clamp(-_RANGE, _RANGE) + _RANGE) / step).round() * step - _RANGE
    return codec.decode(latents, x.shape[-1])


def _downsampled(codec: Codec, x: Tensor) -> Tensor:
    rate = max(round(codec.sample_rate / codec.compression), 1)
    period = codec.sample_rate // gcd(codec.sample_rate, rate)  # multiples of it resample without a time shift
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % period))
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
    """Build the report of an evaluation."""
    rows = {
        name: [Cell("–" if row.kbit_per_s is None else f"{row.kbit_per_s:.1f}"), *map(_cell, row.scores.values())]
        for name, row in evaluation.rows.items()
    }
    columns = [("Representation", ""), ("kbit/s", ""), *((label, "") for label in METRICS.values())]
    clips, examples = {}, []
    for name, recording, reconstruction in evaluation.examples:
        stem = short_name(name.replace("/", "_"))
        clips[f"{stem}.wav"] = Audio(reconstruction, sample_rate)
        clips[f"{stem}_original.wav"] = Audio(recording, sample_rate)
        sounds = {"Recording": recording, "Reconstruction": reconstruction}
        examples.append(Example(name, "", {label: sound(x.T.numpy(), sample_rate) for label, x in sounds.items()}))
    results = {
        name: {"kbit_per_s": row.kbit_per_s} | {key: one and asdict(one) for key, one in row.scores.items()}
        for name, row in evaluation.rows.items()
    }
    return Report(
        title="Codec evaluation",
        facts=format_facts(evaluation.facts),
        lead=[
            f"{evaluation.clips} held-out clips (list SHA-256 {evaluation.clip_list_hash}), the first {SECONDS:g} s of "
            f"each; means with their {LEVEL:.0%} confidence intervals."
        ],
        sections=[
            Section("Reconstruction", table=Table(columns, rows)),
            Section("Examples", f"Reconstructed from {UNQUANTIZED}.", examples=examples),
        ],
        data={key: value for key, value in vars(evaluation).items() if key != "examples"}
        | {"settings": asdict(evaluation.settings), "seconds": SECONDS, "rows": results},
        clips=clips,
    )


def _cell(interval: Interval | None) -> Cell:
    if interval is None or not interval.clips:
        return Cell("–")
    return Cell(f"{interval.mean:.2f}", (f"{interval.low:.2f} to {interval.high:.2f}",), interval)
