"""Cost of streaming: memory over the length of the audio, computation and latency over the chunk size.

`python bench/streaming.py --model DIR RECORDING...` measures, prints and writes `bench/results/streaming.md`.

- *Memory*: peak memory of a process (VmHWM of Linux) while it streams, minus what it held before; one process per
  length. The network is small and has random weights, so that an hour takes minutes. Mels are generated and audio is
  dropped on the way. `Vocoder.generate`, which holds everything at once, is measured for comparison.
- *Computation*: the given model on the given recordings: processor time of one thread relative to `generate` for the
  same mel, and the largest difference of the two relative to the peak. Measurements alternate; the median is reported.
  *Expected* is (chunk + 2 receptive field) / chunk of the network, which takes most of the time.
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
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "streaming.md"
SPEC = PRESETS["speech_16k"]
STEPS, CONSISTENCY = 4, 32
CHUNKS = (16, 64, 128, 256)


def small() -> Vocoder:
    """A small vocoder with random weights and a harmonic excitation."""
    torch.manual_seed(0)
    network = Network(StftFrontend(signals=1), SPEC.n_mels, SPEC.hop_length, [16, 16], [1, 1], embedding=16)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.01)
    excitation = HarmonicExcitation(PitchNetwork(SPEC.n_mels, channels=16, blocks=2, bins=24), SPEC)
    return Vocoder(
        VocoderModel(
            network, Cosine(), V(), SPEC, MelPrior(SPEC), settings=[Setting(consistency=2)], conditioners=[excitation]
        )
    )


def mels(minutes: float, frames: int = 500) -> Iterator[Tensor]:
    """A synthetic mel of the given length, in chunks: a moving ridge over a slope."""
    total = round(60 * minutes * SPEC.sample_rate / SPEC.hop_length)
    bands = torch.arange(SPEC.n_mels)[:, None]
    for start in range(0, total, frames):
        center = 40 + 30 * (torch.arange(start, min(start + frames, total)) / 20).sin()
        yield 4 * (-(bands - center).square() / 200).exp() - 6 - bands / 20


def peak_memory() -> float:
    """Peak memory of this process in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


class Memory(NamedTuple):
    """Memory of one process: MB beyond its start, and seconds of processor time."""

    minutes: float
    megabytes: float
    seconds: float


def memory(minutes: float, whole: bool) -> Memory:
    """Stream audio of the given length, or generate it at once; to be run in a new process."""
    torch.set_num_threads(1)
    vocoder = small()
    vocoder.generate(torch.cat(list(mels(0.05)), -1), 2)
    before, started, samples = peak_memory(), time.process_time(), 0
    if whole:
        samples = len(vocoder.generate(torch.cat(list(mels(minutes)), -1), 2).samples)
    else:
        for audio in vocoder.stream(mels(minutes), 2):
            samples += len(audio.samples)
    if samples != round(60 * minutes * SPEC.sample_rate / SPEC.hop_length) * SPEC.hop_length:
        raise RuntimeError(f"{samples} samples are not {minutes} minutes")
    return Memory(minutes, peak_memory() - before, time.process_time() - started)


def in_new_process(*arguments: object) -> Memory:
    """Run `memory` in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(memory, *arguments).result()


def memory_table(streamed: list[Memory], whole: list[Memory]) -> str:
    """Markdown table."""
    lines = ["| audio, min | streamed: MB | processor s | at once: MB |", "|--:|--:|--:|--:|"]
    at_once = {row.minutes: f"{row.megabytes:.0f}" for row in whole}
    for row in streamed:
        cells = [f"{row.minutes:g}", f"{row.megabytes:.0f}", f"{row.seconds:.0f}", at_once.get(row.minutes, "")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Result of a function, and the processor time of this thread."""
    started = time.thread_time()
    return work(), time.thread_time() - started


def computation_table(vocoder: Vocoder, mel: Tensor, chunks: tuple[int, ...], rounds: int) -> str:
    """Markdown table with a row per chunk size."""
    options = {"steps": STEPS, "consistency": CONSISTENCY}

    def stream(chunk: int) -> Tensor:
        return torch.cat([audio.samples for audio in vocoder.stream(mel.split(50, -1), chunk=chunk, **options)])

    times: dict[int, list[float]] = {chunk: [] for chunk in (0, *chunks)}
    errors = {}
    for _ in range(rounds):
        whole, seconds = timed(lambda: vocoder.generate(mel, **options).samples)
        times[0].append(seconds)
        for chunk in chunks:
            streamed, seconds = timed(lambda chunk=chunk: stream(chunk))
            times[chunk].append(seconds)
            errors[chunk] = ((streamed - whole).abs().max() / whole.abs().max()).item()
    base, spec = statistics.median(times[0]), vocoder.spec
    receptive_field, halo = vocoder.model.network.receptive_field, vocoder.stream([], **options).halo
    lines = ["| chunk, frames | s | latency, s | expected | measured | difference |", "|--:|--:|--:|--:|--:|--:|"]
    for chunk in chunks:
        samples = chunk * spec.hop_length
        seconds = [samples / spec.sample_rate, (samples + halo) / spec.sample_rate]
        costs = [(samples + 2 * receptive_field) / samples, statistics.median(times[chunk]) / base]
        cells = [str(chunk), *(f"{value:.2f}" for value in (*seconds, *costs)), f"{errors[chunk]:.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def mel_of(vocoder: Vocoder, paths: list[Path]) -> Tensor:
    """The mel of concatenated recordings."""
    rate = vocoder.sample_rate
    return vocoder.mel(io.Audio(torch.cat([io.read(path, rate).samples for path in paths]), rate))


def describe(vocoder: Vocoder, mel: Tensor) -> str:
    """Model and data of the measurement."""
    parameters = sum(parameter.numel() for parameter in vocoder.model.parameters()) / 1e6
    seconds = mel.shape[-1] * vocoder.spec.hop_length / vocoder.sample_rate
    halo = vocoder.stream([], STEPS, consistency=CONSISTENCY).halo
    return (
        f"{parameters:.1f} M parameters, {vocoder.training.get('steps', 0)} training steps, {STEPS} steps, "
        f"{CONSISTENCY} iterations of mel consistency, {seconds:.0f} s of speech. "
        f"Receptive field to each side: network {vocoder.model.network.receptive_field} samples, all stages {halo}."
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path, help="speech recordings, about half a minute in total")
    parser.add_argument("--model", required=True, help="folder of a vocoder")
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes, no output: checks that it runs"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(1)
    streamed = [in_new_process(minutes, False) for minutes in ((0.1, 0.2) if quick else (1, 10, 60))]
    whole = [in_new_process(minutes, True) for minutes in ((0.1,) if quick else (1, 10))]
    memory_text = memory_table(streamed, whole)
    print(memory_text)
    vocoder = Vocoder.from_pretrained(arguments.model)
    mel = mel_of(vocoder, arguments.recordings)
    computation_text = computation_table(vocoder, mel, CHUNKS[-2:] if quick else CHUNKS, 1 if quick else 2)
    print(computation_text)
    if quick:
        return
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if value is not None)
    subject = describe(vocoder, mel)
    sections = f"## Memory\n\n{memory_text}\n\n## Computation and latency\n\n{subject}\n\n{computation_text}"
    text = f"# Streaming\n\n{facts}\n\n{sections}\n"
    write_text(RESULTS, text)
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
