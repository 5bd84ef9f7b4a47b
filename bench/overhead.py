"""Cost of a sampler step without the network: ours against the schedulers of diffusers, on the CPU, in one run.

`python bench/overhead.py` measures, prints a table and writes it to `bench/results/overhead.md`. The network is a
stored tensor, which both take as the estimate of x0 (diffusers' `prediction_type="sample"`, its cheapest). The two of a
pair have the same method, order and number of steps. Three costs are measured:

- *step*: sampling from noise to data, divided by the number of steps. Ours includes the check that the state is finite,
  which diffusers leaves to its user.
- *table*: what is computed before the first step, `Sampler.table` and `set_timesteps`;
- *call*: both, for all steps.

Processor time of one thread is measured, so other load on the machine matters little. Measurements alternate within and
between the pairs; ratios are those of the medians, below 1 means that ours is faster.
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
    """One method in both packages.

    Args:
        ours: name of our preset.
        theirs: makes a new scheduler.
    """

    ours: str
    theirs: Callable[[], diffusers.SchedulerMixin]


def ddim() -> diffusers.SchedulerMixin:
    """Deterministic DDIM."""
    return diffusers.DDIMScheduler(clip_sample=False, **COSINE)


def dpm(order: int) -> Callable[[], diffusers.SchedulerMixin]:
    """DPM-Solver++ multistep."""
    return lambda: diffusers.DPMSolverMultistepScheduler(solver_order=order, **COSINE, **CLIP)


def unipc(order: int) -> Callable[[], diffusers.SchedulerMixin]:
    """UniPC with predictor and corrector."""
    return lambda: diffusers.UniPCMultistepScheduler(solver_order=order, **COSINE)


PAIRS = (
    Pair("ddim", ddim),
    Pair("dpmpp_2m", dpm(2)),
    Pair("dpmpp_3m", dpm(3)),
    Pair("unipc_2", unipc(2)),
    Pair("unipc_3", unipc(3)),
)


class Stored:
    """A denoiser without cost: it returns the same tensor at every call."""

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
        """Seconds of a call with all steps."""
        return self.table + steps * self.step


def ours(name: str, x1: Tensor, x0: Tensor, steps: int) -> Cost:
    """Cost of one call of our sampler."""
    sampler, denoiser = presets.build(name, steps), Stored(x0)
    started = time.thread_time()
    table = sampler.table(denoiser)
    ready = time.thread_time()
    _, finite = integrate(table, denoiser, x1)
    refuse_not_finite(finite)
    return Cost(ready - started, (time.thread_time() - ready) / steps)


def theirs(scheduler: diffusers.SchedulerMixin, x1: Tensor, x0: Tensor, steps: int) -> Cost:
    """Cost of one sampling run with a scheduler of diffusers."""
    started = time.thread_time()
    scheduler.set_timesteps(steps)
    ready = time.thread_time()
    x = x1
    for t in scheduler.timesteps:
        x = scheduler.step(x0, t, x).prev_sample
    return Cost(ready - started, (time.thread_time() - ready) / steps)


class Row(NamedTuple):
    """Medians of one pair at one shape, in seconds."""

    name: str
    scheduler: str
    shape: tuple[int, ...]
    ours: Cost
    theirs: Cost


@torch.inference_mode()
def measure(shapes: tuple[tuple[int, ...], ...], steps: int, rounds: int) -> list[Row]:
    """Measure every pair at every shape, alternating between them."""
    cases = []
    for shape in shapes:
        x1, x0 = torch.randn(shape), 0.1 * torch.randn(shape)
        cases += [(pair, pair.theirs(), x1, x0) for pair in PAIRS]
    measured: list[tuple[list[Cost], list[Cost]]] = [([], []) for _ in cases]
    for turn in range(rounds + 1):
        for (pair, scheduler, x1, x0), (mine, others) in zip(cases, measured, strict=True):
            costs = ours(pair.ours, x1, x0, steps), theirs(scheduler, x1, x0, steps)
            # The first turn is a warm-up.
            if turn:
                mine.append(costs[0])
                others.append(costs[1])
    return [
        Row(pair.ours, type(scheduler).__name__, tuple(x1.shape), median(mine), median(others))
        for (pair, scheduler, x1, _), (mine, others) in zip(cases, measured, strict=True)
    ]


def median(costs: list[Cost]) -> Cost:
    """Median of each kind of cost."""
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def table(rows: list[Row]) -> str:
    """Markdown table, in microseconds."""
    lines = [
        "| ours | diffusers | state | step, ours | theirs | ratio | table, ours | theirs | call, ratio |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, scheduler, shape, mine, other in rows:
        cells = [name, scheduler, "x".join(map(str, shape))]
        cells += [*microseconds(mine.step, other.step), f"{mine.step / other.step:.2f}"]
        cells += [*microseconds(mine.table, other.table), f"{mine.of_call(STEPS) / other.of_call(STEPS):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def microseconds(*seconds: float) -> list[str]:
    """Microseconds, rounded."""
    return [f"{1e6 * value:.0f}" for value in seconds]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds, no output: checks that it runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 2 if quick else 41
    rows = measure(SHAPES, STEPS, rounds)
    text = table(rows)
    print(text)
    if quick:
        return
    versions = environment.describe() | {"diffusers": diffusers.__version__}
    facts = " · ".join(f"{key} {value}" for key, value in versions.items() if value is not None)
    method = f"Microseconds of one thread; {STEPS} steps per call, float32; median of {rounds} rounds."
    write_text(RESULTS, f"# Cost of a sampler step without the network\n\n{facts}\n\n{method}\n\n{text}\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
