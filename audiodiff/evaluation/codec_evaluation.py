"""A codec scored: how much of held-out recordings comes back, for how many bits a second.

Latents are real numbers; what they cost is what they are written down in. A row each says what comes back of them as
they are, and rounded to a few bits: evenly between -4 and 4, outside of which a standard normal number hardly lies. For
comparison stands what comes back of as many plain samples a second, without any network: the recording at a lower rate.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, gcd
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiodiff.audio.io import Audio, resample, write
from audiodiff.audio.spectral import multi_resolution_stft, si_sdr
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.evaluate import check_limit, clip_list_hash
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.files import short_name, write_texts
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.models.codec import Codec

BITS = (8, 6, 4)
_MOST = 4.0  # of a latent number that is rounded
_EXAMPLES = 4


@dataclass(frozen=True)
class Settings:
    """What decides the numbers.

    Attributes:
        splits: of the manifest that count as held out.
        limit: at most so many clips, the first of them; None: all.
        seconds: of each, from its start.
        baselines: whether plain samples, as many as there are latent numbers, stand beside the codec.
    """

    splits: tuple[str, ...] = ("validation", "test")
    limit: int | None = None
    seconds: float = 10.0
    baselines: bool = True


@dataclass(frozen=True)
class Row:
    """One way to write recordings down.

    Attributes:
        kbit_per_s: of all channels; None where the numbers are real.
        stft: multi-resolution STFT distance, 0 for what comes back whole.
        si_sdr: dB.
        pesq: of speech; None of what has no text.
    """

    kbit_per_s: float | None
    stft: Interval
    si_sdr: Interval
    pesq: Interval | None


@dataclass(frozen=True)
class Report:
    """All that was found."""

    rows: dict[str, Row]
    clips: int
    facts: dict
    settings: Settings
    clip_list_hash: str
    examples: list[tuple[str, Tensor, Tensor]]


@torch.inference_mode()
def evaluate(codec: Codec, manifest: Manifest, settings: Settings, digest: str = "") -> Report:
    """Code held-out recordings in every way and compare.

    Args:
        codec: under judgement.
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
    numbers = codec.sample_rate * codec.channels / codec.compression
    ways = _ways(codec, numbers, settings.baselines)
    device = codec.network.mean.device
    found: dict[str, list] = {name: [] for name in ways}
    examples = []
    for clip in clips:
        real = _recording(codec, manifest, clip, settings.seconds)
        for name, (_, way) in ways.items():
            made = way(real[None].to(device))[0].cpu()
            found[name].append(_judged(real, made, codec.sample_rate, speech))
            if name == "latents as they are" and len(examples) < _EXAMPLES:
                examples.append((clip.id, real, made))
    rows = {name: _row(ways[name][0], np.array(values), speech) for name, values in found.items()}
    facts = environment.describe(str(device)) | {"codec": digest[:12]}
    facts |= {"latent_numbers_per_s": numbers, "samples_per_number": codec.compression}
    return Report(rows, len(clips), facts, settings, clip_list_hash(list(clips)), examples)


def _ways(codec: Codec, numbers: float, baselines: bool) -> dict[str, tuple[float | None, Callable[[Tensor], Tensor]]]:
    """By name, the kbit/s of a way to write recordings down, None for real numbers, and what comes back of one."""
    ways = {"latents as they are": (None, lambda x: codec.decode(codec.encode(x), x.shape[-1]))}
    for bits in BITS:
        ways[f"latents of {bits} bits"] = (numbers * bits / 1000, lambda x, bits=bits: _rounded(codec, x, bits))
    if baselines:
        ways["as many plain samples of 16 bits"] = (numbers * 16 / 1000, lambda x: _fewer(codec, x))
    return ways


def _recording(codec: Codec, manifest: Manifest, clip: Clip, seconds: float) -> Tensor:
    samples = min(round(seconds * codec.sample_rate), ceil(clip.seconds * codec.sample_rate))
    return read_crop(manifest, clip, codec.sample_rate, 0, samples, codec.channels)


def _rounded(codec: Codec, x: Tensor, bits: int) -> Tensor:
    step = 2 * _MOST / (2**bits - 1)
    latents = ((codec.encode(x).clamp(-_MOST, _MOST) + _MOST) / step).round() * step - _MOST
    return codec.decode(latents, x.shape[-1])


def _fewer(codec: Codec, x: Tensor) -> Tensor:
    rate = max(round(codec.sample_rate / codec.compression), 1)
    whole = codec.sample_rate // gcd(codec.sample_rate, rate)  # resampling keeps the time if it begins and ends there
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % whole))
    return resample(resample(padded, codec.sample_rate, rate), rate, codec.sample_rate)[..., : x.shape[-1]]


def _judged(real: Tensor, made: Tensor, sample_rate: int, speech: bool) -> tuple[float, float, float]:
    heard = real.square().mean(-1) > 1e-8
    if not heard.any():
        return (float("nan"),) * 3
    x, y = made[heard], real[heard]
    quality = float("nan")
    if speech:
        quality = pesq_wb(real.mean(0).numpy(), made.mean(0).numpy(), sample_rate)
    return float(multi_resolution_stft(x, y).mean()), float(si_sdr(x, y).mean()), quality


def _row(kbits: float | None, values: np.ndarray, speech: bool) -> Row:
    stft, ratio, quality = map(bootstrap, values.T)
    return Row(kbits, stft, ratio, quality if speech else None)


def _told(interval: Interval) -> str:
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def markdown(report: Report) -> str:
    """The report for people."""
    lines = ["| | kbit/s | STFT distance ↓ | SI-SDR, dB ↑ | PESQ ↑ |", "|---|--:|--:|--:|--:|"]
    for name, row in report.rows.items():
        kbits = "–" if row.kbit_per_s is None else f"{row.kbit_per_s:.1f}"
        quality = "–" if row.pesq is None else _told(row.pesq)
        lines.append(f"| {name} | {kbits} | {_told(row.stft)} | {_told(row.si_sdr)} | {quality} |")
    parts = [
        "# What comes back of recordings",
        " · ".join(f"{key} {value}" for key, value in report.facts.items() if value is not None),
        f"{report.clips} held-out clips (list SHA-256 `{report.clip_list_hash}`), of each the first "
        f"{report.settings.seconds:g} s; means with their 95 % intervals.",
        "\n".join(lines),
    ]
    return "\n\n".join(parts) + "\n"


def write_report(report: Report, sample_rate: int, folder: Path) -> Path:
    """Write report.md, report.json and some clips; the path of report.md is returned."""
    folder = Path(folder)
    told = {name: value for name, value in asdict(report).items() if name != "examples"}
    for name, real, made in report.examples:
        stem = short_name(name.replace("/", "_"))
        write(folder / "clips" / f"{stem}.wav", Audio(made, sample_rate))
        write(folder / "clips" / f"{stem}_original.wav", Audio(real, sample_rate))
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    write_texts({folder / "report.json": text, folder / "report.md": markdown(report)})
    return folder / "report.md"
