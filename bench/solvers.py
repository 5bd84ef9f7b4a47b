"""Error of samplers against steps, ours and of other libraries, on problems with known solutions.

`python bench/solvers.py` runs every sampler of `solver_ours.py`, `solver_papers.py`, `solver_diffusers.py` and
`solver_azula.py` on the problems of `solver_problems.py` and writes `bench/results/solvers.md`, `.json` and `.png`.
`--problems` and `--seeds` choose other members of the families and other families, `--steps` other budgets.

A call is one evaluation of the denoiser on the whole batch; all are counted, and none exceeds the budget. Samplers
that can only make certain numbers of nfe make the largest one within the budget. Deterministic samplers only: of the
others a single error says nothing.
"""

import argparse
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

import solver_ours
import solver_report
import torch
from solver_problems import KINDS, SAMPLES, Answer, Problem
from solver_report import OURS, Record

from audiodiff.evaluation import environment

RESULTS = Path(__file__).parent / "results"
PROBLEMS = ("a", "b", "c", "gauss", "perturbed")
SEEDS = (0, 1, 2)
BUDGETS = (5, 6, 8, 10, 15, 20, 50)
LIBRARIES = ("azula", "diffusers", "scipy")
Contestant = Callable[[Problem, int], Answer | None]


def ours() -> dict[str, Contestant]:
    """Our samplers by row name."""

    return {f"{OURS} {name}": partial(solver_ours.run, name) for name in solver_ours.names()}


def contestants() -> dict[str, Contestant]:
    """Every sampler by row name: ours, then the peers, which alone need the extra `bench`."""
    import solver_azula
    import solver_diffusers
    import solver_papers

    return ours() | solver_papers.peers() | solver_diffusers.peers() | solver_azula.peers()


def measure(problem: Problem, nfe: Iterable[int], samplers: dict[str, Contestant]) -> list[Record]:
    """Every sampler on one problem at every budget that it can meet."""
    records = []
    for name, run in samplers.items():
        for budget in nfe:
            answer = run(problem, budget)
            if answer is None:
                continue
            errors = problem.errors(answer)
            records.append(Record(name, problem.name, budget, answer.nfe, errors.median, errors.rms, errors.flips))
    return records


def run(
    problems: Iterable[str] = PROBLEMS,
    seeds: Iterable[int] = SEEDS,
    nfe: Iterable[int] = BUDGETS,
    samplers: dict[str, Contestant] | None = None,
) -> list[Record]:
    """Records of all samplers (None: all there are) on all problems, in this process."""
    chosen = contestants() if samplers is None else samplers
    members = [KINDS[kind](seed) for kind in problems for seed in seeds]
    return [record for member in members for record in measure(member, nfe, chosen)]


def run_one(member: tuple[str, int], nfe: tuple[int, ...]) -> list[Record]:
    """All samplers on one problem, in a process of its own."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    kind, seed = member
    return run([kind], [seed], nfe)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "(default: %(default)s)"
    parser.add_argument("--problems", nargs="+", default=PROBLEMS, choices=KINDS, help=f"families {default}")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help=f"members of each {default}")
    parser.add_argument("--steps", nargs="+", type=int, default=BUDGETS, help=f"budgets {default}")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help=f"processes {default}")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"folder of the results {default}")
    arguments = parser.parse_args()
    members = [(kind, seed) for kind in arguments.problems for seed in arguments.seeds]
    nfe = tuple(sorted(set(arguments.steps)))
    with ProcessPoolExecutor(arguments.workers) as pool:
        found = list(pool.map(partial(run_one, nfe=nfe), members))
    records = [record for part in found for record in part]
    where = environment.describe() | {name: version(name) for name in LIBRARIES}
    heading = (
        f"{' · '.join(f'{key} {value}' for key, value in where.items() if value is not None)}\n\n"
        f"Problems: {', '.join(f'{kind}/{seed}' for kind, seed in members)}. {SAMPLES} samples each, float64; "
        "the exact solution is DOP853's, each sampler's from its own start level to its own end level."
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(solver_report.write(records, list(nfe), heading, where, arguments.out))
    print(f"written: {arguments.out}/solvers.md, .json, .png")


if __name__ == "__main__":
    main()
