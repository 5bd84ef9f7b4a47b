"""What streaming costs: memory against the length of the audio, work and latency against the chunk.

`python bench/streaming.py --model DIR RECORDING...` measures, prints and writes `bench/results/streaming.md`.

- *Memory*: the most that a process ever held (VmHWM of Linux) while it streamed so many minutes, less what it held
  before, each length in a process of its own; a small network of random weights, so that an hour takes minutes. Mels
  are made and audio dropped as they go. Beside it the same by `Vocoder.generate`, which holds all at once.
- *Work*: of the given model on the given recordings, one after the other: processor time of one thread against that of
  `generate` for the same mel, and the largest difference of the two, in units of the peak. All take turns, the median
  counts. *Reckoned* is (chunk + 2 reach) / chunk of the network, which takes most of the time.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from audiodiff.audio import io
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "streaming.md"
SPEC = PRESETS["speech_16k"]
CALLS, CONSISTENCY = 4, 32
CHUNKS = (16, 64, 128, 256)


def small() -> Vocoder:
    """A network of random weights and little width, with a source."""
    torch.manual_seed(0)
    network = Network(StftFrontend(signals=1), SPEC.n_mels, SPEC.hop_length, [16, 16], [1, 1], embedding=16)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.01)
    source = HarmonicExcitation(PitchNetwork(SPEC.n_mels, channels=16, blocks=2, bins=24), SPEC)
    return Vocoder(VocoderModel(network, Cosine(), V(), SPEC, MelPrior(SPEC), consistency=2, source=source))


def mels(minutes: float, frames: int = 500) -> Iterator[Tensor]:
    """A mel of so many minutes, in pieces: a moving ridge over a slope."""
    total = round(60 * minutes * SPEC.sample_rate / SPEC.hop_length)
    bands = torch.arange(SPEC.n_mels)[:, None]
    for start in range(0, total, frames):
        place = 40 + 30 * (torch.arange(start, min(start + frames, total)) / 20).sin()
        yield 4 * (-(bands - place).square() / 200).exp() - 6 - bands / 20


def held() -> float:
    """MB that this process has held at most."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


class Memory(NamedTuple):
    """Of one process: MB beyond what it began with, and seconds of processor time."""

    minutes: float
    megabytes: float
    seconds: float


def memory(minutes: float, whole: bool) -> Memory:
    """Stream so many minutes, or generate them at once; for a process of its own."""
    torch.set_num_threads(1)
    vocoder = small()
    vocoder.generate(torch.cat(list(mels(0.05)), -1), 2)
    before, started, samples = held(), time.process_time(), 0
    if whole:
        samples = len(vocoder.generate(torch.cat(list(mels(minutes)), -1), 2).samples)
    else:
        for audio in vocoder.stream(mels(minutes), 2):
            samples += len(audio.samples)
    if samples != round(60 * minutes * SPEC.sample_rate / SPEC.hop_length) * SPEC.hop_length:
        raise RuntimeError(f"{samples} samples are not {minutes} minutes")
    return Memory(minutes, held() - before, time.process_time() - started)


def apart(*arguments: object) -> Memory:
    """`memory` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(memory, *arguments).result()


def memory_table(streamed: list[Memory], whole: list[Memory]) -> str:
    """Markdown."""
    lines = ["| audio, min | streamed: MB | processor s | at once: MB |", "|--:|--:|--:|--:|"]
    beside = {row.minutes: f"{row.megabytes:.0f}" for row in whole}
    for row in streamed:
        cells = [f"{row.minutes:g}", f"{row.megabytes:.0f}", f"{row.seconds:.0f}", beside.get(row.minutes, "")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Its answer and the processor time of this thread."""
    started = time.thread_time()
    return work(), time.thread_time() - started


def work_table(vocoder: Vocoder, mel: Tensor, chunks: tuple[int, ...], rounds: int) -> str:
    """Markdown: a row for each chunk."""
    options = {"steps": CALLS, "consistency": CONSISTENCY}

    def stream(chunk: int) -> Tensor:
        return torch.cat([audio.samples for audio in vocoder.stream(mel.split(50, -1), chunk=chunk, **options)])

    times: dict[int, list[float]] = {chunk: [] for chunk in (0, *chunks)}
    errors = {}
    for _ in range(rounds):
        whole, seconds = timed(lambda: vocoder.generate(mel, **options).samples)
        times[0].append(seconds)
        for chunk in chunks:
            made, seconds = timed(lambda chunk=chunk: stream(chunk))
            times[chunk].append(seconds)
            errors[chunk] = ((made - whole).abs().max() / whole.abs().max()).item()
    base, spec = statistics.median(times[0]), vocoder.spec
    reach, halo = vocoder.model.network.receptive_field, vocoder.stream([], **options).halo
    lines = ["| chunk, frames | s | latency, s | reckoned | measured | difference |", "|--:|--:|--:|--:|--:|--:|"]
    for chunk in chunks:
        samples = chunk * spec.hop_length
        seconds = [samples / spec.sample_rate, (samples + halo) / spec.sample_rate]
        costs = [(samples + 2 * reach) / samples, statistics.median(times[chunk]) / base]
        cells = [str(chunk), *(f"{value:.2f}" for value in (*seconds, *costs)), f"{errors[chunk]:.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def recorded(vocoder: Vocoder, paths: list[Path]) -> Tensor:
    """The mel of recordings, one after the other."""
    rate = vocoder.sample_rate
    return vocoder.mel(io.Audio(torch.cat([io.read(path, rate).samples for path in paths]), rate))


def described(vocoder: Vocoder, mel: Tensor) -> str:
    """What was measured, in words."""
    parameters = sum(parameter.numel() for parameter in vocoder.model.parameters()) / 1e6
    seconds = mel.shape[-1] * vocoder.spec.hop_length / vocoder.sample_rate
    halo = vocoder.stream([], CALLS, consistency=CONSISTENCY).halo
    return (
        f"{parameters:.1f} M parameters, {vocoder.training.get('steps', 0)} steps of training, {CALLS} calls, "
        f"{CONSISTENCY} iterations of consistency, {seconds:.0f} s of speech. "
        f"The network reaches {vocoder.model.network.receptive_field} samples, the halo of all is {halo}."
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path, help="speech, half a minute together")
    parser.add_argument("--model", required=True, help="folder of a vocoder")
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes, nothing written: does it run?"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(1)
    streamed = [apart(minutes, False) for minutes in ((0.1, 0.2) if quick else (1, 10, 60))]
    whole = [apart(minutes, True) for minutes in ((0.1,) if quick else (1, 10))]
    held_text = memory_table(streamed, whole)
    print(held_text)
    vocoder = Vocoder.from_pretrained(arguments.model)
    mel = recorded(vocoder, arguments.recordings)
    work_text = work_table(vocoder, mel, CHUNKS[-2:] if quick else CHUNKS, 1 if quick else 2)
    print(work_text)
    if quick:
        return
    where = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if value is not None)
    told = described(vocoder, mel)
    text = f"# Streaming\n\n{where}\n\n## Memory\n\n{held_text}\n\n## Work and latency\n\n{told}\n\n{work_text}\n"
    write_text(RESULTS, text)
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
