"""Rendering in bulk: `audiodiff render`, a plain loop over the model, and diffusers' pipeline of the same network.

`python bench/render.py` generates drum sounds with the shipped model in one run and writes `bench/results/render.md`:

- *loop*: `AudioGenerator.generate` for one clip after the other, each written by soundfile;
- *diffusers*: `DanceDiffusionPipeline`, diffusers' pipeline for unconditional waveforms, around the same network with
  its own scheduler, one clip a call, and a batch a call; its samples are colored and written as ours;
- *render*: `audiodiff render --count N`, in one process, and in one and two worker processes of one thread each.

All have the same number of network evaluations per clip and one thread per process. Clips per second are counted from
the first batch on, so that they are those of long runs; the time until the first file is a column of its own. It also
measures the start of a run of 50,000 rows, of which the first batch is then not sampled, and how memory grows over
thousands of clips, whose samples are zeros.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

import diffusers
import soundfile
import torch
from torch import Tensor

from audiodiff.audio.loudness import normalize_peak
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions
from audiodiff.rendering.registry import Request, render_request

RESULTS = Path(__file__).parent / "results" / "render.md"
BATCH = 8
LONGER = 5  # times as many clips as the loop: workers share shards of several batches


class Speed(NamedTuple):
    """A way to make clips: files per second from the first on, and seconds until then."""

    name: str
    rate: float
    start: float


class Velocity(torch.nn.Module):
    """The network of a model as the `unet` of diffusers' pipeline: predicts v at a time from 1 to 0."""

    def __init__(self, generator: AudioGenerator, config: GenerationConfig):
        super().__init__()
        model = self.model = generator.model
        frames = model.frames(model.samples)
        steer = lambda clips: generator._sampler.steering(clips, frames, config).steer(model.denoiser)  # noqa: E731
        self.steered = {clips: steer(clips) for clips in (1, BATCH)}
        self.config = SimpleNamespace(in_channels=1, sample_size=model.samples, sample_rate=model.sample_rate)
        self.up_blocks: list = []
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def forward(self, x: Tensor, t: Tensor) -> SimpleNamespace:
        """v of (B, C, T) at time t, of alpha = cos(pi t / 2)."""
        denoiser, condition = self.steered[len(x)]
        angle = t.clamp(1e-4, 1 - 1e-4) * torch.pi / 2
        alpha, sigma = angle.cos(), angle.sin()
        x0 = denoiser(x, float(t.clamp(1e-4, 1 - 1e-4)), condition)
        return SimpleNamespace(sample=alpha * (x - alpha * x0) / sigma - sigma * x0)


def measure(name: str, clips: int, make: Callable[[int], Iterator[Tensor]], rate: int, folder: Path) -> Speed:
    """Write clips (C, T) that are made one batch after the other."""
    started, times = time.perf_counter(), []
    for number, samples in enumerate(make(clips)):
        soundfile.write(folder / f"{number:04d}.wav", normalize_peak(samples, 0.9).T.numpy(), rate, "PCM_16")
        times.append(time.perf_counter() - started)
    return Speed(name, _rate(times, BATCH), times[0])


def _rate(times: list[float], first: int) -> float:
    """Files per second after the first few, which mark the beginning."""
    times = sorted(times)
    return (len(times) - first) / (times[-1] - times[first - 1])


def loop(generator: AudioGenerator, config: GenerationConfig) -> Callable[[int], Iterator[Tensor]]:
    """One clip after the other."""
    return lambda clips: (generator.generate(config, seed=seed).samples for seed in range(clips))


def peer(generator: AudioGenerator, config: GenerationConfig, batch: int) -> Callable[[int], Iterator[Tensor]]:
    """Diffusers' pipeline, so many clips a call."""
    pipeline = diffusers.DanceDiffusionPipeline(Velocity(generator, config), diffusers.IPNDMScheduler())
    pipeline.set_progress_bar_config(disable=True)

    def make(clips: int) -> Iterator[Tensor]:
        for _ in range(clips // batch):
            audio = pipeline(batch_size=batch, num_inference_steps=config.steps).audios
            yield from generator.model.restore(torch.from_numpy(audio), generator.model.samples)

    return make


def rendered(name: str, clips: int, workers: int | None, model: str, steps: int, folder: Path) -> Speed:
    """`audiodiff render --count`."""
    request = Request(
        inputs=[],
        out=folder,
        options=RenderOptions(steps=steps),
        files=FileOptions(batch_size=BATCH),
        execution=ExecutionOptions(workers=workers),
        count=clips,
    )
    started = time.time()
    outcome = render_request(Path(model), request, lambda error: print(error), quiet=True)
    assert outcome.written == clips
    times = [path.stat().st_mtime - started for path in folder.glob("*.wav")]
    return Speed(name, _rate(times, BATCH * (workers or 1)), min(times))


class Stopped(Exception):
    """The first batch is about to be sampled."""


def begin(model: str, rows: int, folder: Path) -> tuple[float, float]:
    """Seconds of processor time until the first batch of a table is sampled, and MB that the rows took."""
    table = folder / "rows.jsonl"
    table.write_text(
        "".join(json.dumps({"labels": ["kick"], "seed": n, "name": f"{n:06d}"}) + "\n" for n in range(rows))
    )
    chunks, before, started = AudioGenerator.chunks, _memory(), time.process_time()

    def stop(*_: object) -> Iterator[Tensor]:
        raise Stopped

    AudioGenerator.chunks = stop  # type: ignore[method-assign]
    try:
        request = Request(inputs=[table], out=folder / "out", options=RenderOptions(), files=FileOptions())
        render_request(Path(model), request, print, quiet=True)
    except Stopped:
        return time.process_time() - started, _memory() - before
    finally:
        AudioGenerator.chunks = chunks  # type: ignore[method-assign]
    raise AssertionError("nothing was sampled")


def growth(model: str, clips: int, folder: Path) -> tuple[float, float]:
    """MB in use after a quarter of the clips, and after all."""
    chunks, seen = AudioGenerator.chunks, []

    def zeros(_: AudioGenerator, config: GenerationConfig, seeds: list[int], *__: object) -> Iterator[Tensor]:
        seen.append(_memory())
        yield torch.zeros(len(seeds), 1, 100)

    AudioGenerator.chunks = zeros  # type: ignore[method-assign]
    try:
        request = Request(
            inputs=[], out=folder, options=RenderOptions(), files=FileOptions(batch_size=BATCH), count=clips
        )
        render_request(Path(model), request, print, quiet=True)
    finally:
        AudioGenerator.chunks = chunks  # type: ignore[method-assign]
    return seen[len(seen) // 4], seen[-1]


def _memory() -> float:
    """MB that are resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


Pair = tuple[float, float]


def report(speeds: list[Speed], start: Pair, grown: Pair, args: argparse.Namespace) -> str:
    """The table as Markdown."""
    versions = environment.describe() | {"diffusers": diffusers.__version__}
    rates = {speed.name: speed.rate for speed in speeds}
    lines = [
        "# Rendering in bulk",
        "",
        f"`python bench/render.py --clips {args.clips} --steps {args.steps}`: {args.clips} clips of one second by "
        f"`{args.model}`, {args.steps} steps each, one thread per process, batches of {BATCH}; clips per second from "
        f"the first batch on. `render` makes {LONGER * args.clips}.",
        "",
        "| | clips per second | of the loop | seconds until the first file |",
        "|---|---|---|---|",
        *(f"| {s.name} | {s.rate:.2f} | {s.rate / rates['loop']:.2f} | {s.start:.1f} |" for s in speeds),
        "",
        f"Two workers are {rates['render, 2 workers'] / rates['render, 1 worker']:.2f} times as fast as one. "
        f"A table of {args.rows} rows starts its first batch after {start[0]:.1f} s of processor time, and takes "
        f"{start[1]:.0f} MB. Over {args.rows // 10} clips of zeros the memory in use was {grown[0]:.0f} MB after a "
        f"quarter and {grown[1]:.0f} MB at the end.",
        "",
        ", ".join(f"{key} {value}" for key, value in versions.items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="drums")
    parser.add_argument("--clips", type=int, default=64, help="a multiple of 16, more than 16")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = GenerationConfig(steps=args.steps)
    generator = AudioGenerator.from_pretrained(args.model)
    with tempfile.TemporaryDirectory() as scratch:
        folders = (Path(scratch) / str(number) for number in range(100))

        def folder() -> Path:
            path = next(folders)
            path.mkdir()
            return path

        rate, clips = generator.sample_rate, args.clips
        speeds = [
            measure("loop", clips, loop(generator, config), rate, folder()),
            measure("diffusers", clips, peer(generator, config, 1), rate, folder()),
            measure(f"diffusers, batches of {BATCH}", clips, peer(generator, config, BATCH), rate, folder()),
            rendered("render", LONGER * clips, None, args.model, args.steps, folder()),
            rendered("render, 1 worker", LONGER * clips, 1, args.model, args.steps, folder()),
            rendered("render, 2 workers", LONGER * clips, 2, args.model, args.steps, folder()),
        ]
        start = begin(args.model, args.rows, folder())
        text = report(speeds, start, growth(args.model, args.rows // 10, folder()), args)
    print(text)
    write_text(args.out, text)


if __name__ == "__main__":
    main()
