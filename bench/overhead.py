"""What a solver's step costs beside the network: ours against the schedulers of diffusers, on the CPU, in one run.

`python bench/overhead.py` measures, prints a table and writes it to `bench/results/overhead.md`. The network is a
stored tensor, taken for the estimate of x0 by both (diffusers' `prediction_type="sample"`, its leanest). The two of a
pair have the same method, order and number of calls. Their costs are told apart:

- *step*: the way from noise to data, divided by its steps. Ours includes watching that the state stays finite, which
  diffusers leaves to its user.
- *table*: what a call computes of its times before the first step, `Sampler.table` and `set_timesteps`;
- *call*: both, for all steps.

One thread, whose own processor time is counted, so that other work on the machine matters little. The two of a pair
take turns, and so do the pairs; the ratio is that of the medians, below 1 is ours ahead.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

import diffusers
import torch
from torch import Tensor

from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.sampler import integrate, refuse_not_finite
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.evaluation import environment
from audiodiff.files import write_text

RESULTS = Path(__file__).parent / "results" / "overhead.md"
SHAPES = ((1, 1, 16000), (8, 1, 64000), (1, 80, 400))
STEPS = 20
COSINE = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000, "prediction_type": "sample"}
# Without it the cosine process of diffusers' multistep schedulers ends in infinities.
CLIP = {"lambda_min_clipped": -5.1}


class Pair(NamedTuple):
    """One method, ours and theirs.

    Args:
        ours: name of the preset.
        theirs: the scheduler, fresh.
    """

    ours: str
    theirs: Callable[[], diffusers.SchedulerMixin]


def ddim() -> diffusers.SchedulerMixin:
    """The deterministic one."""
    return diffusers.DDIMScheduler(clip_sample=False, **COSINE)


def dpm(order: int) -> Callable[[], diffusers.SchedulerMixin]:
    """DPM-Solver++ multistep."""
    return lambda: diffusers.DPMSolverMultistepScheduler(solver_order=order, **COSINE, **CLIP)


def unipc(order: int) -> Callable[[], diffusers.SchedulerMixin]:
    """Predictor and corrector."""
    return lambda: diffusers.UniPCMultistepScheduler(solver_order=order, **COSINE)


PAIRS = (
    Pair("ddim", ddim),
    Pair("dpmpp_2m", dpm(2)),
    Pair("dpmpp_3m", dpm(3)),
    Pair("unipc_2", unipc(2)),
    Pair("unipc_3", unipc(3)),
)


class Stored:
    """A denoiser that costs nothing: the same tensor at every call."""

    schedule, t_max = Cosine(), 1.0

    def __init__(self, x0: Tensor):
        self.x0 = x0

    def __call__(self, x_t: Tensor, t: float, cond: object = None) -> Tensor:
        """The stored tensor."""
        return self.x0


class Cost(NamedTuple):
    """Seconds of one call: its table, and one of its steps."""

    table: float
    step: float

    def of_call(self, steps: int) -> float:
        """Of the whole."""
        return self.table + steps * self.step


def ours(name: str, x1: Tensor, x0: Tensor, steps: int) -> Cost:
    """One call of our sampler."""
    sampler, denoiser = presets.build(name, steps), Stored(x0)
    begun = time.thread_time()
    table = sampler.table(denoiser)
    ready = time.thread_time()
    _, finite = integrate(table, denoiser, x1)
    refuse_not_finite(finite)
    return Cost(ready - begun, (time.thread_time() - ready) / steps)


def theirs(scheduler: diffusers.SchedulerMixin, x1: Tensor, x0: Tensor, steps: int) -> Cost:
    """One call of a scheduler of diffusers."""
    begun = time.thread_time()
    scheduler.set_timesteps(steps)
    ready = time.thread_time()
    x = x1
    for t in scheduler.timesteps:
        x = scheduler.step(x0, t, x).prev_sample
    return Cost(ready - begun, (time.thread_time() - ready) / steps)


class Row(NamedTuple):
    """Medians of one pair at one shape, in seconds."""

    name: str
    peer: str
    shape: tuple[int, ...]
    ours: Cost
    theirs: Cost


@torch.inference_mode()
def measure(shapes: tuple[tuple[int, ...], ...], steps: int, rounds: int) -> list[Row]:
    """Every pair at every shape; all take turns."""
    cases = []
    for shape in shapes:
        x1, x0 = torch.randn(shape), 0.1 * torch.randn(shape)
        cases += [(pair, pair.theirs(), x1, x0) for pair in PAIRS]
    found: list[tuple[list[Cost], list[Cost]]] = [([], []) for _ in cases]
    for turn in range(rounds + 1):
        for (pair, scheduler, x1, x0), (mine, peers) in zip(cases, found, strict=True):
            costs = ours(pair.ours, x1, x0, steps), theirs(scheduler, x1, x0, steps)
            # The first turn warms up.
            if turn:
                mine.append(costs[0])
                peers.append(costs[1])
    return [
        Row(pair.ours, type(scheduler).__name__, tuple(x1.shape), median(mine), median(peers))
        for (pair, scheduler, x1, _), (mine, peers) in zip(cases, found, strict=True)
    ]


def median(costs: list[Cost]) -> Cost:
    """Of each kind of cost by itself."""
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def table(rows: list[Row]) -> str:
    """Markdown, in microseconds."""
    lines = [
        "| ours | diffusers | state | step, ours | theirs | ratio | table, ours | theirs | call, ratio |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, peer, shape, mine, other in rows:
        cells = [name, peer, "x".join(map(str, shape))]
        cells += [*microseconds(mine.step, other.step), f"{mine.step / other.step:.2f}"]
        cells += [*microseconds(mine.table, other.table), f"{mine.of_call(STEPS) / other.of_call(STEPS):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def microseconds(*seconds: float) -> list[str]:
    """Rounded."""
    return [f"{1e6 * value:.0f}" for value in seconds]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds, nothing written: does it run?")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 2 if quick else 41
    rows = measure(SHAPES, STEPS, rounds)
    text = table(rows)
    print(text)
    if quick:
        return
    where = environment.describe() | {"diffusers": diffusers.__version__}
    told = " · ".join(f"{key} {value}" for key, value in where.items() if value is not None)
    how = f"Microseconds of one thread; {STEPS} steps a call, float32; median of {rounds} rounds."
    write_text(RESULTS, f"# Cost of a solver's step without the network\n\n{told}\n\n{how}\n\n{text}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
