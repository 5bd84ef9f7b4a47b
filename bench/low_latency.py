"""What a bounded look-ahead costs: quality, borders, speed and delay of low-latency streaming.

`python bench/low_latency.py --data data/asterisk-it` streams held-out clips with the shipped vocoder (or `--model`)
exactly and with each look-ahead of `LOOK_AHEADS`, prints and writes `bench/results/low_latency.md`.

- *Quality*: PESQ-WB and STOI against the recording, and the paired difference from the exact stream.
- *Borders*: second differences of the samples where chunks meet, relative to those elsewhere, both relative to the
  level of the samples around; 1 is no seam, a click is far above.
- *Speed*: processor time of one thread per second of audio (the real-time factor), and per chunk the first one's (how
  long after enough frames the first audio comes) and the longest one's. `latency` is chunk plus look-ahead.
- *Steady*: the same of one stream of `--long` seconds, the clips one after the other: the real-time factor of its first
  and of its last quarter, and the median, the 99th percentile and the longest of its chunks, beside what a chunk lasts.
  A live stream keeps up where all of them are shorter than that.

`--long 60 --limit 0` measures the long stream alone.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.audio import io
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import choose, clip_list_hash
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.files import write_text
from audiodiff.metrics.pesq import pesq_wb
from audiodiff.metrics.stoi import stoi
from audiodiff.pipelines import low_latency
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "low_latency.md"
LOOK_AHEADS = (0.02, 0.05, 0.1, 0.3)
STEADY = (0.1, 0.3)


class Row(NamedTuple):
    """Results of one mode: per clip PESQ, STOI, seam, seconds of audio, and the processor seconds of each chunk."""

    pesq: list[float]
    stoi: list[float]
    seam: list[float]
    seconds: list[float]
    work: list[list[float]]


def streamed(
    vocoder: Vocoder, mel: Tensor, seed: int, steps: int | None, look_ahead: float | None
) -> tuple[Tensor, list[float]]:
    """The samples (T,) of a live mel that arrives frame by frame, and the processor seconds of each chunk."""
    stream = vocoder.stream(mel.split(1, -1), steps, seed=seed, look_ahead=look_ahead)
    chunks, work = [], []
    while True:
        started = time.thread_time()
        if (audio := next(stream, None)) is None:
            return torch.cat(chunks), work
        work.append(time.thread_time() - started)
        chunks.append(audio.samples)


def seam(samples: Tensor, period: int) -> float:
    """Second differences at multiples of `period`, relative to the mean; both relative to the level around."""
    bends = samples.diff(n=2).abs()
    relative = bends / (F.avg_pool1d(bends[None, None], 1025, 1, 512)[0, 0] + 1e-6)
    borders = torch.arange(period, len(samples) - 2, period)
    return (relative[borders - 1].mean() / relative.mean()).item() if len(borders) else float("nan")


def measure(vocoder: Vocoder, recordings: list[Tensor], look_ahead: float | None, steps: int | None) -> Row:
    """Stream all recordings (T,)."""
    row, rate = Row([], [], [], [], []), vocoder.sample_rate
    for seed, recording in enumerate(recordings):
        made, work = streamed(vocoder, vocoder.mel(io.Audio(recording, rate)), seed, steps, look_ahead)
        pair = recording.numpy(), made[: len(recording)].numpy()
        row.pesq.append(pesq_wb(*pair, rate))
        row.stoi.append(stoi(*pair, rate))
        row.seam.append(seam(made, low_latency.CHUNK * vocoder.spec.hop_length))
        row.seconds.append(len(made) / rate)
        row.work.append(work)
    return row


def difference(values: list[float], base: list[float], digits: int) -> str:
    """Mean of paired differences with its interval."""
    found = bootstrap(np.subtract(values, base))
    return f"{found.mean:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def table(rows: dict[float | None, Row], vocoder: Vocoder) -> str:
    """Markdown table of one row per mode."""
    base, chunk = rows[None], low_latency.CHUNK * vocoder.spec.hop_length / vocoder.sample_rate
    heads = [
        "look-ahead, ms", "latency, ms", "PESQ-WB", "difference", "STOI", "difference", "borders", "real-time factor",
        "first chunk, ms", "longest chunk, ms",
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'--:|' * len(heads)}"]
    for ahead, row in rows.items():
        exact, halo = ahead is None, vocoder.stream([], look_ahead=ahead).halo / vocoder.sample_rate
        factor = sum(map(sum, row.work)) / sum(row.seconds)
        cells = [
            "exact" if exact else f"{1000 * ahead:.0f}",
            "whole clip" if exact else f"{1000 * (chunk + halo):.0f}",
            f"{np.mean(row.pesq):.2f}",
            "" if exact else difference(row.pesq, base.pesq, 2),
            f"{np.mean(row.stoi):.3f}",
            "" if exact else difference(row.stoi, base.stoi, 3),
            f"{np.nanmean(row.seam):.2f}",
            f"{factor:.2f}",
            "" if exact else f"{1000 * np.median([work[0] for work in row.work]):.0f}",
            "" if exact else f"{1000 * max(map(max, row.work)):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def steady(vocoder: Vocoder, recordings: list[Tensor], seconds: float, steps: int | None) -> str:
    """Markdown table of one stream of so many seconds for each of `STEADY`."""
    rate, hop = vocoder.sample_rate, vocoder.spec.hop_length
    mel = torch.cat([vocoder.mel(io.Audio(recording, rate)) for recording in recordings], -1)
    mel = mel.repeat(1, -(-int(seconds * rate / hop) // mel.shape[-1]))[:, : int(seconds * rate / hop)]
    chunk = low_latency.CHUNK * hop / rate
    heads = ["look-ahead, ms", "chunk, ms", "real-time factor", "first quarter", "last quarter"]
    heads += ["median chunk, ms", "99 %, ms", "longest, ms"]
    lines = [f"| {' | '.join(heads)} |", f"|{'--:|' * len(heads)}"]
    for look_ahead in STEADY:
        _, work = streamed(vocoder, mel, 0, steps, look_ahead)
        quarter = len(work) // 4
        factors = (sum(part) / (len(part) * chunk) for part in (work, work[:quarter], work[-quarter:]))
        spread = (1000 * float(value) for value in (np.median(work), np.quantile(work, 0.99), max(work)))
        cells = [f"{1000 * look_ahead:.0f}", f"{1000 * chunk:.0f}", *(f"{factor:.3f}" for factor in factors)]
        lines.append(f"| {' | '.join([*cells, *(f'{value:.1f}' for value in spread)])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="speech-16k", help="folder or name of a vocoder")
    parser.add_argument("--data", required=True, help="manifest of held-out recordings, or its folder")
    parser.add_argument("--limit", type=int, default=10, help="clips; 0: the long stream alone, nothing written")
    parser.add_argument("--long", type=float, default=60, help="seconds of the long stream (default: 60)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's)")
    parser.add_argument("--quick", action="store_true", help="one clip, no output: checks that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vocoder, manifest = Vocoder.from_pretrained(arguments.model), Manifest.load(arguments.data)
    clips, _ = choose(manifest, ("validation", "test"), 1 if arguments.quick else arguments.limit or 10)
    recordings = [io.read(manifest.path(clip), vocoder.sample_rate).samples for clip in clips]
    vocoder.generate(vocoder.mel(io.Audio(recordings[0], vocoder.sample_rate)), 1)  # fills caches
    long = steady(vocoder, recordings, 2 if arguments.quick else arguments.long, arguments.steps)
    print(long)
    if not arguments.limit:
        return
    rows: dict[float | None, Row] = {}
    for look_ahead in (None, *LOOK_AHEADS):
        rows[look_ahead] = measure(vocoder, recordings, look_ahead, arguments.steps)
        print(table(rows, vocoder).splitlines()[-1], flush=True)
    if arguments.quick:
        return
    steps = arguments.steps or vocoder.model.default_steps
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if value is not None)
    subject = (
        f"{arguments.model} ({vocoder.model_hash[:12]}), {steps} steps, {vocoder.model.consistency} iterations of mel "
        f"consistency, chunks of {low_latency.CHUNK} frames; {len(clips)} clips of {manifest.root.resolve().name}, "
        f"{sum(map(len, recordings)) / vocoder.sample_rate:.0f} s, list {clip_list_hash(clips)[:12]}. Differences are "
        "paired, with 95% bootstrap intervals over clips."
    )
    write_text(RESULTS, f"# Low-latency streaming\n\n{facts}\n\n{subject}\n\n{table(rows, vocoder)}\n\n{long}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
