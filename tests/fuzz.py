"""Mutated files and texts of every kind: each is used, or refused in one line, within bounds of time and memory.

`make fuzz` (ten minutes; FUZZ="--minutes 60" for longer). A failure is anything but a result or a `UserError` of one
line; more than 10 s of processor time, or a minute; more than 2 GB of memory; a file changed outside of the case's
folder; a process that dies. Every case has a number, from which it is made again: the inputs of failures are kept in
`fuzz/TARGET-NUMBER`.

    python tests/fuzz.py --minutes 10             all targets in turn, in one process per core
    python tests/fuzz.py --target audio --case 7  one case, with its traceback
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE"):
    os.environ.setdefault(name, "1")
ROOT = Path(__file__).resolve().parent.parent
BATCH = 1.0  # seconds of one target before the next one's turn
COLUMNS = ("target", "inputs", "per second", "used", "refused", "failures", "slowest", "most memory")


@dataclass
class Tally:
    """What is known of the cases of one target."""

    cases: int = 0
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    megabytes: float = 0.0
    failures: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def row(self, name: str) -> tuple[str, ...]:
        failed = sum(map(len, self.failures.values()))
        rate = self.inputs / self.seconds if self.seconds else 0.0
        used = self.cases - self.refused - failed
        counts = (f"{self.inputs:,}", f"{rate:.0f}", f"{used:,}", f"{self.refused:,}", str(failed))
        return (name, *counts, f"{self.slowest:.2f} s", f"{self.megabytes:.0f} MB")


def work(connection: Connection, folder: Path, out: Path) -> None:
    """Run the cases that come as (target, first, stride, seconds); announce each before it begins."""
    import torch
    from fuzzing.targets import TARGETS
    from fuzzing.worker import Guard, limit_memory, run_case

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders talk of what they find
    guard, cases = Guard(), {}
    limit_memory()
    while (order := connection.recv()) is not None:
        target, number, stride, seconds, seed = order
        if target not in cases:
            prepared = folder / f"seeds-{target}"
            prepared.mkdir(parents=True)
            cases[target] = TARGETS[target](prepared)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            connection.send(("begin", target, number))
            began = time.process_time()
            outcome = run_case(cases[target], f"{seed} {target} {number}", folder / "case", guard)
            if outcome.failure:
                keep(folder / "case", out / f"{target}-{number}", outcome.failure)
            connection.send(("end", target, number, time.process_time() - began, outcome))
            number += stride
        connection.send(("idle", target, number))


class Worker:
    """A process, its connection, and the case that it is at."""

    def __init__(self, context, folder: Path, out: Path):
        self.context, self.folder, self.out = context, folder, out
        self.start()

    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.connection, other = self.context.Pipe()
        self.process = self.context.Process(target=work, args=(other, self.folder, self.out), daemon=True)
        self.process.start()
        other.close()
        self.case: tuple[str, int] | None = None
        self.since = self.spent = 0.0

    def begin(self, target: str, number: int) -> None:
        """A case begins."""
        self.case, self.since, self.spent = (target, number), time.monotonic(), self.processor_seconds()

    def processor_seconds(self) -> float:
        """What the process has computed for so far; on a busy computer much less than the time that has passed."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def overtime(self, seconds: float) -> bool:
        """Whether its case has computed for longer, or has taken six times as long."""
        waited = self.case is not None and time.monotonic() - self.since
        return waited > seconds and (waited > 6 * seconds or self.processor_seconds() - self.spent > seconds)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def fuzz(targets: list[str], minutes: float, workers: int, seed: int, out: Path) -> dict[str, Tally]:
    """Run cases for so many minutes, and return what is known of each target."""
    from fuzzing.worker import SECONDS

    context = multiprocessing.get_context("spawn")
    tallies = {name: Tally() for name in targets}
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, ExitStack() as stack:
        pool = [Worker(context, Path(folder) / str(index), out) for index in range(workers)]
        for worker in pool:
            stack.callback(worker.stop)
        following = Counter({(name, index): index for name in targets for index in range(workers)})
        turns = [index for index, _ in enumerate(pool)]

        def order(index: int) -> None:
            name = targets[turns[index] % len(targets)]
            turns[index] += 1
            pool[index].connection.send((name, following[name, index], workers, BATCH, seed))

        def failed(index: int, problem: str) -> None:
            name, number = pool[index].case or ("", 0)
            keep(pool[index].folder / "case", out / f"{name}-{number}", problem)
            tallies[name].failures[problem].append(number)
            tallies[name].cases += 1
            tallies[name].inputs += 1
            following[name, index] = number + workers
            pool[index].stop()
            pool[index].start()
            order(index)

        for index in range(workers):
            order(index)
        while time.monotonic() < end:
            ready = wait([worker.connection for worker in pool], timeout=0.5)
            for index, worker in enumerate(pool):
                if worker.connection in ready:
                    try:
                        message = worker.connection.recv()
                    except (EOFError, OSError):
                        if worker.case is None:
                            raise SystemExit("error: a worker ended before its first case") from None
                        worker.process.join(5)
                        failed(index, f"the process ended ({worker.process.exitcode})")
                        continue
                    if message[0] == "begin":
                        worker.begin(*message[1:])
                    elif message[0] == "end":
                        _, name, number, seconds, outcome = message
                        record(tallies[name], number, seconds, outcome)
                        following[name, index] = number + workers
                        worker.case = None
                    else:
                        order(index)
                elif worker.overtime(SECONDS):
                    failed(index, f"more than {SECONDS:.0f} s")
    return tallies


def record(tally: Tally, number: int, seconds: float, outcome) -> None:
    tally.cases += 1
    tally.inputs += outcome.inputs
    tally.refused += outcome.refused and not outcome.failure
    tally.seconds += seconds
    tally.slowest = max(tally.slowest, seconds)
    tally.megabytes = max(tally.megabytes, outcome.megabytes)
    if outcome.failure:
        tally.failures[outcome.failure].append(number)


def keep(case: Path, place: Path, problem: str) -> None:
    """Copy the inputs of a failure, and write down what happened."""
    shutil.rmtree(place, ignore_errors=True)
    if case.is_dir():
        shutil.copytree(case, place, symlinks=True, ignore_dangling_symlinks=True)
    place.mkdir(parents=True, exist_ok=True)
    (place / "PROBLEM.txt").write_text(problem + "\n", errors="replace")


def table(tallies: dict[str, Tally]) -> str:
    """The results in Markdown."""
    rows = [tally.row(name) for name, tally in tallies.items()]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def one_case(target: str, number: int, seed: int) -> None:
    """Run one case here, so that its traceback is seen."""
    from fuzzing.targets import TARGETS

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        seeds, here = Path(folder) / "seeds", Path(folder) / "case"
        seeds.mkdir()
        here.mkdir()
        case = TARGETS[target](seeds)
        os.chdir(here)
        case(Random(f"{seed} {target} {number}"), here)


def main() -> int:
    """Exit status: 0 if no case fails."""
    sys.path.insert(0, str(ROOT))
    from fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; repeat for several")
    parser.add_argument("--case", type=int, help="run one case of a target here, with its traceback")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument("--out", type=Path, default=ROOT / "fuzz", help="folder of failures and report.json")
    arguments = parser.parse_args()
    targets = arguments.target or list(TARGETS)
    if arguments.case is not None:
        one_case(targets[0], arguments.case, arguments.seed)
        return 0
    out = arguments.out.resolve()
    began = time.monotonic()
    tallies = fuzz(targets, arguments.minutes, arguments.workers, arguments.seed, out)
    inputs, seconds = sum(tally.inputs for tally in tallies.values()), time.monotonic() - began
    print(table(tallies))
    print(f"\n{inputs:,} inputs in {seconds / 60:.1f} minutes, {3600 * inputs / seconds:,.0f} an hour")
    failures = [(name, *each) for name, tally in tallies.items() for each in tally.failures.items()]
    for name, problem, numbers in failures:
        print(f"failure: {name} --case {numbers[0]} and {len(numbers) - 1} more: {problem}")
    out.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(COLUMNS, tally.row(name), strict=True)) for name, tally in tallies.items()]
    report = {"inputs": inputs, "seconds": seconds, "seed": arguments.seed, "rows": rows, "failures": failures}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
