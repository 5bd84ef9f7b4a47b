"""Speed of the three front ends and of DiffWave, on the CPU, in one run.

`python bench/network.py` measures, prints a table and writes it to `bench/results/network.md`. Two numbers per network:

- *training*: seconds of audio per second of training. A training step is the mean square error of the prediction, the
  backward pass and Adam. The rest of a recipe (mel, prior, spectral loss, reading) is not included, for any network.
- *real-time factor per step*: seconds of computation per second of audio for one network evaluation without gradients.
  Below 1 is faster than real time; sampling in six steps costs six times as much.

Networks are those of `conf/network` at 16 kHz; the identity front end works on mel frames at the same rate; `diffwave`
(Kong et al. 2021, the package of that name) has its default size at its own 22.05 kHz. All clips have the same length.
Measurements alternate between the networks, so that other load affects all of them; the median is reported.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from diffwave.model import DiffWave
from diffwave.params import params as diffwave_params
from hydra.utils import instantiate
from torch import Tensor, nn

from audiodiff import config
from audiodiff.files import write_text
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import IdentityFrontend
from audiodiff.nn.network import Network

RESULTS = Path(__file__).parent / "results" / "network.md"
BASELINE = "diffwave"


@dataclass(frozen=True)
class Contender:
    """A network and its inputs for clips of a given length.

    Args:
        name: row of the table.
        network: the network to measure.
        inputs: from batch size and seconds to the arguments of `predict`, the noisy signal first.
        predict: one evaluation of the network.
    """

    name: str
    network: nn.Module
    inputs: Callable[[int, float], tuple[Tensor, ...]]
    predict: Callable[..., Tensor]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def vocoder(name: str) -> Contender:
    """A network of conf/network on waveforms, conditioned on a mel."""
    cfg = config.compose([f"network={name}"])
    network, rate, hop = instantiate(cfg.network), cfg.audio.sample_rate, cfg.audio.hop_length

    def inputs(batch: int, seconds: float) -> tuple[Tensor, ...]:
        samples = round(seconds * rate / hop) * hop
        frames = torch.randn(batch, cfg.audio.n_mels, samples // hop)
        return torch.randn(batch, 1, samples), torch.zeros(batch), frames

    return Contender(name, network, inputs, lambda x, level, frames: network(x, level, Condition(frames)))


def mel_network() -> Contender:
    """The identity front end on mels, with the width and depth of the STFT one."""
    cfg = config.compose(["network=stft"])
    network = Network(IdentityFrontend(cfg.audio.n_mels), channels=cfg.network.channels, blocks=cfg.network.blocks)

    def inputs(batch: int, seconds: float) -> tuple[Tensor, ...]:
        frames = round(seconds * cfg.audio.sample_rate / cfg.audio.hop_length)
        return torch.randn(batch, cfg.audio.n_mels, frames), torch.zeros(batch)

    return Contender("identity (mels)", network, inputs, network)


def diffwave() -> Contender:
    """DiffWave at its default size."""
    network, hop = DiffWave(diffwave_params), diffwave_params.hop_samples

    def inputs(batch: int, seconds: float) -> tuple[Tensor, ...]:
        frames = round(seconds * diffwave_params.sample_rate / hop)
        mel = torch.randn(batch, diffwave_params.n_mels, frames)
        return torch.randn(batch, frames * hop), mel, torch.zeros(batch, dtype=torch.long)

    return Contender(BASELINE, network, inputs, network)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def training_step(contender: Contender, batch: int, seconds: float) -> Callable[[], None]:
    """A function that runs one optimizer step."""
    optimizer = torch.optim.Adam(contender.network.parameters(), lr=1e-4)
    arguments = contender.inputs(batch, seconds)
    target = torch.randn_like(arguments[0])

    def step() -> None:
        optimizer.zero_grad()
        prediction = contender.predict(*arguments)
        (prediction.reshape(target.shape) - target).square().mean().backward()
        optimizer.step()

    return step


def network_call(contender: Contender, seconds: float) -> Callable[[], None]:
    """A function that evaluates the network once on one clip, without gradients."""
    arguments = contender.inputs(1, seconds)

    def call() -> None:
        with torch.inference_mode():
            contender.predict(*arguments)

    return call


def measure(works: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each function, after one warm-up call; measurements alternate."""
    for work in works.values():
        work()
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def environment() -> str:
    """Date, hardware and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(": ", 1)[1] for line in info.read_text().splitlines() if "model name" in line), cpu)
    threads = torch.get_num_threads()
    date = time.strftime("%Y-%m-%d")
    return (
        f"{date} · {cpu}, {threads} threads · Python {platform.python_version()} · torch {torch.__version__} · float32"
    )


def table(contenders: list[Contender], steps: dict[str, float], calls: dict[str, float], audio: tuple) -> str:
    """Markdown table; ratios are to the baseline of the same run, above 1 is faster."""
    trained, called = audio
    vs = f"against {BASELINE}"
    lines = [
        f"| network | parameters | training, audio s per s | {vs} | real-time factor per step | {vs} |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for contender in contenders:
        name, size = contender.name, contender.parameters / 1e6
        training = f"{trained / steps[name]:.2f} | {steps[BASELINE] / steps[name]:.1f}x"
        calling = f"{calls[name] / called:.4f} | {calls[BASELINE] / calls[name]:.1f}x"
        lines.append(f"| {name} | {size:.2f} M | {training} | {calling} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny clips, one round, no output: checks that it runs")
    quick = parser.parse_args().quick
    batch, crop, clip, rounds = (1, 0.2, 0.2, 1) if quick else (4, 1.0, 4.0, 7)

    torch.manual_seed(0)
    contenders = [vocoder("stft"), vocoder("strided"), mel_network(), diffwave()]
    steps = measure({c.name: training_step(c, batch, crop) for c in contenders}, rounds)
    calls = measure({c.name: network_call(c, clip) for c in contenders}, rounds)
    text = table(contenders, steps, calls, (batch * crop, clip))
    print(text)
    if quick:
        return
    sizes = f"Training steps on {batch} clips of {crop:g} s, evaluation on one clip of {clip:g} s"
    how = f"{sizes}; median of {rounds} rounds."
    write_text(RESULTS, f"# Speed of the networks on the CPU\n\n{environment()}\n\n{how}\n\n{text}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
