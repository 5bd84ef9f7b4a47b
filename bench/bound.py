"""Every shipped network beside the time of its matrix products, on the CPU, in one run.

`python bench/bound.py` measures, prints its tables and writes `bench/results/bound.md`; `--seconds 1 3 10 30 --batches
1 8 --threads 1 2` is the whole grid. Random inputs; measurements take turns, and medians are reported.

- *evaluation*: one evaluation of the network without gradients; *training step*: the mean square error of its output,
  the backward pass and AdamW. A step of more than `LARGEST_STEP` seconds of audio is left out.
- *products*: the matrix products of its convolutions and linear layers alone (a convolution of K taps is one product
  of K times the channels), each of exactly its shape, in the same round, with packed weights (`audiodiff.products`); of
  a training step also the two products of each that are its gradients, none of them packed. Depthwise convolutions,
  attention and Fourier transforms do not count.
- *times the bound*: evaluation or step divided by its products.
- shares: of an evaluation, what the convolutions and linear layers, the norms, and the front end (short-time spectra of
  a vocoder, in and out) take; the rest is modulation, activations, sums and Python.
- of a vocoder also conditioning (pitch, pulses) and 16 iterations of mel consistency, once a clip.

One thread is measured in CPU time, which other work on the machine disturbs less; more threads in wall time, for which
the machine has to be idle.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.models import checkpoint
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.condition import Condition
from audiodiff.nn.layers import ChannelNorm
from audiodiff.pipelines import registry
from audiodiff.products import Factor

RESULTS = Path(__file__).parent / "results" / "bound.md"
ITERATIONS = 16
LARGEST_STEP = 32  # seconds of audio in a batch
TOKENS = 32
PARTS = ("convolution", "norm", "front end")


@dataclass(frozen=True)
class Case:
    """One network and size.

    Args:
        name: of the shipped model.
        seconds: of each clip.
        batch: clips.
        threads: of PyTorch.
    """

    name: str
    seconds: float
    batch: int
    threads: int

    def clock(self) -> float:
        """Seconds: CPU time of one thread, wall time of more."""
        return time.process_time() if self.threads == 1 else time.perf_counter()

    def seconds_of(self, work: Callable[[], object]) -> float:
        """Time of one call."""
        started = self.clock()
        work()
        return self.clock() - started


def process_length(model: DiffusionModel, seconds: float) -> int:
    """Positions of the process in a clip: samples, frames of latents or folded mel frames, whole on the grid."""
    rates: dict[type, Callable] = {
        VocoderModel: lambda m: m.sample_rate,
        AudioModel: lambda m: m.sample_rate / m.stride,
        AcousticModel: lambda m: m.sample_rate / m.mel_spec.hop_length / m.fold,
    }
    rate = next(rate for kind, rate in rates.items() if isinstance(model, kind))(model)
    grid = model.network.grid
    return max(1, round(seconds * rate / grid)) * grid


def inputs(model: DiffusionModel, batch: int, seconds: float) -> tuple[Tensor, Tensor, Condition]:
    """Arguments of the network: noise, noise levels, and each condition that it takes."""
    network, length = model.network, process_length(model, seconds)
    normal = partial(torch.randn, batch)
    frames = normal(network.condition, length // network.condition_hop) if network.condition else None
    signal = normal(network.frontend.signals, length) if network.frontend.signals else None
    tokens = normal(TOKENS, network.token_channels) if network.token_channels else None
    return normal(network.frontend.channels, length), normal(), Condition(frames, signal=signal, tokens=tokens)


def product_shapes(network: nn.Module, arguments: tuple) -> list[tuple[int, int, int]]:
    """Rows, inner size and columns of the product that each convolution and linear layer is."""
    shapes = []

    def record(layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        size, first = layer.weight.numel(), layer.weight.shape[0]
        if isinstance(layer, nn.ConvTranspose1d):
            shapes.append((given[0].numel() // first, first, size // first))
        else:
            shapes.append((output.numel() // first, size // first, first))

    layers = [m for m in network.modules() if isinstance(m, nn.Linear) or (_is_convolution(m) and m.groups == 1)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    with torch.inference_mode():
        network(*arguments)
    for hook in hooks:
        hook.remove()
    return shapes


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d | nn.ConvTranspose1d)


def products(shapes: Sequence[tuple[int, int, int]], gradients: bool) -> Callable[[], None]:
    """A function that computes all products, and with `gradients` those of their gradients."""
    operands = [(torch.randn(m, k), torch.randn(k, n), torch.randn(m, n)) for m, k, n in shapes]
    factors = [Factor(weight) for _, weight, _ in operands]

    def evaluate() -> None:
        for (rows, _, _), factor in zip(operands, factors, strict=True):
            factor(rows)

    def step() -> None:
        for rows, weight, gradient in operands:
            torch.mm(rows, weight)
            torch.mm(gradient, weight.t())
            torch.mm(rows.t(), gradient)

    return step if gradients else evaluate


@contextmanager
def timed_parts(network: nn.Module, clock: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Time spent in `PARTS` while the context lasts, in seconds."""
    total: dict[str, float] = defaultdict(float)
    started: list[float] = []

    def stop(part: str, *_: object) -> None:
        total[part] += clock() - started.pop()

    hooks = []
    for module in network.modules():
        dense = isinstance(module, nn.Linear) or _is_convolution(module)
        if dense or isinstance(module, ChannelNorm):
            part = "convolution" if dense else "norm"
            hooks.append(module.register_forward_pre_hook(lambda *_: started.append(clock())))
            hooks.append(module.register_forward_hook(partial(stop, part)))
    frontend = network.frontend
    for name in ("encode", "decode"):
        setattr(frontend, name, partial(_timed, getattr(frontend, name), started, partial(stop, "front end"), clock))
    yield total
    for hook in hooks:
        hook.remove()
    for name in ("encode", "decode"):
        delattr(frontend, name)


def _timed(method: Callable, started: list[float], stop: Callable, clock: Callable, *arguments: object) -> object:
    started.append(clock())
    result = method(*arguments)
    stop()
    return result


def training_step(network: nn.Module, arguments: tuple[Tensor, Tensor, Condition]) -> Callable[[], None]:
    """A function that takes one optimizer step. Its network is not that of the evaluations."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        network(*arguments).square().mean().backward()
        optimizer.step()

    return step


def works(case: Case) -> dict[str, Callable[[], object]]:
    """What is measured of a case, by name."""
    model = registry.load(case.name, "cpu").model
    # As a training run loads it: a pipeline's weights are packed for inference.
    network = type(model).from_pretrained(case.name).network.train().requires_grad_(True)
    arguments = inputs(model, case.batch, case.seconds)
    shapes = product_shapes(model.network, arguments)
    result: dict[str, Callable[[], object]] = {
        "evaluation": lambda: model.network(*arguments),
        "products": products(shapes, gradients=False),
    }
    if isinstance(model, VocoderModel):
        frames = arguments[0].shape[-1] // model.mel_spec.hop_length
        mel, waveform = torch.randn(case.batch, model.mel_spec.n_mels, frames) - 5, 0.1 * arguments[0][:, 0]
        result["conditioning"] = lambda: model.embed_mel(mel)
        result["projection"] = lambda: model.project(waveform, mel, ITERATIONS)
    if case.batch * case.seconds <= LARGEST_STEP:
        result["step"] = training_step(network, arguments)
        result["step products"] = products(shapes, gradients=True)

    def parts() -> dict[str, float]:
        with timed_parts(model.network, case.clock) as total:
            model.network(*arguments)
        return total

    return result | {"parts": parts}


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Median seconds of all that is measured of a case; and of each of `PARTS`."""
    torch.set_num_threads(case.threads)
    measured, times = works(case), defaultdict(list)
    for turn in range(rounds + 1):
        for name, work in measured.items():
            with torch.inference_mode(mode=not name.startswith("step")):
                if name == "parts":
                    for part, seconds in work().items():
                        times[part].append(seconds)
                else:
                    times[name].append(case.seconds_of(work))
        if turn == 0:
            times.clear()  # a warm-up
    return {name: statistics.median(values) for name, values in times.items()}


def row(case: Case, found: dict[str, float]) -> str:
    """One line of the table."""

    def milliseconds(name: str) -> str:
        return f"{1e3 * found[name]:.1f}" if name in found else ""

    def times(name: str, bound: str) -> str:
        return f"{found[name] / found[bound]:.2f}" if name in found else ""

    cells = [case.name, f"{case.seconds:g}", str(case.batch), str(case.threads)]
    cells += [milliseconds("evaluation"), milliseconds("products"), times("evaluation", "products")]
    cells += [f"{100 * found.get(part, 0) / found['evaluation']:.0f}" for part in PARTS]
    cells += [milliseconds("conditioning"), milliseconds("projection")]
    cells += [milliseconds("step"), milliseconds("step products"), times("step", "step products")]
    audio = case.batch * case.seconds
    cells.append(f"{audio / found['step']:.1f}" if "step" in found else "")
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| network | seconds | clips | threads | evaluation, ms | products, ms | times the bound "
    "| convolution, % | norm, % | front end, % | conditioning, ms | projection, ms "
    "| training step, ms | products, ms | times the bound | audio s per s |\n|---|" + "--:|" * 15
)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = checkpoint.shipped()
    parser.add_argument("--models", nargs="+", choices=names, default=names, help="shipped models (default: all)")
    parser.add_argument("--seconds", nargs="+", type=float, default=[1.0, 10.0], help="of a clip (default: 1 10)")
    parser.add_argument("--batches", nargs="+", type=int, default=[1], help="clips (default: 1)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="of PyTorch (default: 1)")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median is reported (default: 7)")
    parser.add_argument("--quick", action="store_true", help="one short case a model, no output: checks that it runs")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seconds, chosen.batches, chosen.threads, chosen.rounds = [0.5], [1], [1], 1
    torch.manual_seed(0)
    lines = [HEAD]
    print(HEAD)
    for threads in chosen.threads:
        for name in chosen.models:
            for seconds in chosen.seconds:
                for batch in chosen.batches:
                    case = Case(name, seconds, batch, threads)
                    lines.append(row(case, measure(case, chosen.rounds)))
                    print(lines[-1], flush=True)
    if chosen.quick:
        return
    facts = " · ".join(f"{key} {value}" for key, value in environment.describe().items() if key != "threads")
    how = f"Median of {chosen.rounds} rounds, float32; one thread in CPU time, more in wall time."
    text = "\n".join(lines)
    write_text(RESULTS, f"# The networks beside their matrix products\n\n{facts}\n\n{how}\n\n{text}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
