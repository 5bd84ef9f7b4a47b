"""How fast vocoders are on the CPU, from a mel to a waveform, all in one run.

`python bench/vocoder.py --speed speech-16k` measures on one thread and on `--threads` (default: all cores), prints its
table and writes `bench/results/vocoder_speed.md`. Systems:

- ours: each setting of each model, and 1, 4 and 6 steps with the iterations of its default one; conditioning (pitch,
  pulses), sampling, coloring and mel consistency are all included;
- Vocos (Siuzdak 2023): backbone and head of the package `vocos` at the size of its published mel model at 24 kHz;
- DiffWave (Kong et al. 2021): the package `diffwave` at its default, published size, by its own fast sampling.

The peers have random weights, on which speed does not depend; one that is not installed is left out, with a line that
says how to install it. For each number of threads and length, systems take turns, so that other load affects all alike;
medians over rounds are reported, of fewer rounds for a system that takes longer than `BUDGET`. One thread is measured
in CPU time, which other work on the machine disturbs less; more threads in wall time, for which it has to be idle.
"""

import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.diffusion.samplers import presets
from audiodiff.evaluation import environment
from audiodiff.files import write_text
from audiodiff.pipelines.vocoder import Vocoder

RESULTS = Path(__file__).parent / "results" / "vocoder_speed.md"
SECONDS = (1.0, 3.0, 10.0)
STEPS = (1, 4, 6)
ROUNDS = 5
BUDGET = 20.0  # seconds of work on one clip, after which a system has no further round
INSTALL = {
    "vocos": "pip install --no-deps vocos==0.1.0  # without encodec, which it imports and the mel model does not use",
    "diffwave": "pip install diffwave==0.1.7",
}


@dataclass
class System:
    """A vocoder that is timed.

    Args:
        name: in the table.
        steps: network evaluations.
        sample_rate: Hz.
        parameters: of its network.
        synthesize: seconds of audio -> a call that synthesizes it from a mel computed before.
        peer: whether it is not ours.
        work: (threads, seconds) -> seconds of work of each round.
    """

    name: str
    steps: int
    sample_rate: int
    parameters: int
    synthesize: Callable[[float], Callable[[], object]]
    peer: bool = False
    work: dict[tuple[int, float], list[float]] = field(default_factory=dict)

    def speed(self, threads: int, seconds: float) -> float:
        """Seconds of audio per second of work; NaN if it was not measured."""
        work = self.work.get((threads, seconds))
        return seconds / statistics.median(work) if work else math.nan


def ours(name: str) -> list[System]:
    """A model at its settings, and with 1, 4 and 6 steps and the iterations of its default one."""
    vocoder = Vocoder.from_pretrained(name)
    model = vocoder.model
    parameters = _parameters(model)
    choices = {f"setting {one.name}": (one.steps, one.sampler, one.consistency) for one in model.settings}
    for steps in STEPS:
        sampler = model.sampler if steps >= presets.PRESETS[model.sampler].min_nfe else "ddim"
        choices[f"{steps} step{'s' * (steps > 1)}"] = (steps, sampler, model.consistency)
    found = []
    for choice, (steps, sampler, iterations) in choices.items():

        def synthesize(seconds: float, steps=steps, sampler=sampler, iterations=iterations) -> Callable[[], object]:
            mel = vocoder.mel(_noise(seconds, vocoder.sample_rate))
            return lambda: vocoder.generate(mel, steps, sampler=sampler, consistency=iterations)

        label = f"{name}, {choice} ({iterations} iterations)"
        found.append(System(label, steps, vocoder.sample_rate, parameters, synthesize))
    return found


def vocos() -> System:
    """Vocos at the size of its mel model at 24 kHz, with random weights.

    Raises:
        ImportError: the package is not installed.
    """
    from vocoder_vocos import Generator

    spec = PRESETS["vocos_24k"]
    network = Generator(spec).eval()

    def synthesize(seconds: float) -> Callable[[], object]:
        mel = torch.randn(1, spec.n_mels, math.ceil(seconds * spec.sample_rate / spec.hop_length))
        return lambda: network(mel)

    return System("Vocos", 1, spec.sample_rate, _parameters(network), synthesize, peer=True)


def diffwave() -> System:
    """DiffWave at its default size in its fast steps, with random weights.

    Raises:
        ImportError: the package is not installed.
    """
    from diffwave import inference
    from diffwave.model import DiffWave
    from diffwave.params import AttrDict, params

    network = DiffWave(AttrDict(params)).eval()
    inference.models["speed"] = network
    steps = len(params.inference_noise_schedule)

    def synthesize(seconds: float) -> Callable[[], object]:
        mel = torch.rand(params.n_mels, math.ceil(seconds * params.sample_rate / params.hop_samples))
        return lambda: inference.predict(mel, "speed", device=torch.device("cpu"), fast_sampling=True)

    return System(
        f"DiffWave, {steps} fast steps", steps, params.sample_rate, _parameters(network), synthesize, peer=True
    )


PEERS: dict[str, Callable[[], System]] = {"vocos": vocos, "diffwave": diffwave}


def peers() -> list[System]:
    """The peers that are installed; a line on stderr for each that is not."""
    found = []
    for name, build in PEERS.items():
        try:
            found.append(build())
        except ImportError as error:
            print(f"{name} is left out ({error}); to add it: {INSTALL[name]}", file=sys.stderr)
    return found


@torch.inference_mode()
def measure(systems: Sequence[System], threads: Sequence[int], seconds: Sequence[float], rounds: int = ROUNDS) -> None:
    """Fill in the work of all systems, which take turns."""
    for system in systems:
        system.synthesize(0.25)()  # loads kernels and makes plans
    before = torch.get_num_threads()
    for count in threads:
        torch.set_num_threads(count)
        clock = time.process_time if count == 1 else time.perf_counter
        for length in seconds:
            print(f"timing {length:g} s on {count} thread{'s' * (count > 1)}", file=sys.stderr, flush=True)
            _take_turns(systems, (count, length), clock, rounds)
    torch.set_num_threads(before)


def _take_turns(systems: Sequence[System], case: tuple[int, float], clock: Callable[[], float], rounds: int) -> None:
    calls = [system.synthesize(case[1]) for system in systems]
    for round_ in range(rounds + 1):
        for system, call in zip(systems, calls, strict=True):
            work = system.work.setdefault(case, [])
            if sum(work) > BUDGET:
                continue
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # steps outside the validated range
                started = clock()
                call()
                spent = clock() - started
            if round_ or spent > BUDGET / 2:  # the first round warms up, unless it took long
                work.append(spent)


def table(systems: Sequence[System], threads: Sequence[int], seconds: Sequence[float]) -> str:
    """Times real time, as Markdown: a row for each system and number of threads."""
    lengths = [f"{length:g} s" for length in seconds]
    lines = [
        f"| system | rate (kHz) | parameters | threads | {' | '.join(lengths)} |",
        f"|---|--:|--:|--:|{'--:|' * len(lengths)}",
    ]
    for count in threads:
        for system in systems:
            cells = [_times(system.speed(count, length)) for length in seconds]
            facts = f"{system.sample_rate / 1000:g} | {system.parameters / 1e6:.1f} M | {count}"
            lines.append(f"| {system.name} | {facts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparisons(systems: Sequence[System], threads: Sequence[int], seconds: Sequence[float]) -> list[str]:
    """How many times faster ours is than each peer with as many steps, as lines of Markdown."""
    mine, others = ([system for system in systems if system.peer is peer] for peer in (False, True))
    lines = []
    for own, peer in ((own, peer) for peer in others for own in mine if own.steps == peer.steps):
        for count in threads:
            ratios = [own.speed(count, length) / peer.speed(count, length) for length in seconds]
            cells = ", ".join(f"{ratio:.3g} ({length:g} s)" for ratio, length in zip(ratios, seconds, strict=True))
            lines.append(f"- {own.name} / {peer.name}, {count} thread{'s' * (count > 1)}: {cells}")
    return lines


def run(models: Sequence[str], threads: Sequence[int], seconds: Sequence[float] = SECONDS, out: Path = RESULTS) -> None:
    """Measure, print, write."""
    torch.manual_seed(0)
    systems = [*(system for name in models for system in ours(name)), *peers()]
    measure(systems, threads, seconds)
    facts = " · ".join(f"{name} {value}" for name, value in environment.describe().items() if value is not None)
    parts = [
        "# Speed of vocoders",
        facts,
        "Times real time: seconds of audio per second of work, from the mel to the waveform, each system at its own "
        "sample rate. One thread: CPU time; more: wall time. Medians of interleaved rounds. `bench/vocoder_speed.py` "
        "says what each system is.",
        table(systems, threads, seconds),
        "Speed of ours divided by that of a peer with as many steps:",
        "\n".join(comparisons(systems, threads, seconds)) or "- no peer is installed",
    ]
    text = "\n\n".join(parts) + "\n"
    write_text(out, text)
    print(f"{text}\nwritten: {out}")


def _noise(seconds: float, sample_rate: int) -> Audio:
    return Audio(0.1 * torch.randn(round(seconds * sample_rate)), sample_rate)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _times(speed: float) -> str:
    return "–" if math.isnan(speed) else f"{speed:.{0 if speed >= 10 else 2}f}"
