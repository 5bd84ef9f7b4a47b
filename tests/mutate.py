"""Does a test notice? Perturbs every number in `audiodiff/diffusion` and every entry of each preset's weight table.

`make mutate` (outside `make test`; about ten minutes on two cores). One fault at a time:

- *numbers*: each numeric constant in the source of the process, one more where it is an integer, else 1 % more;
- *tables*: each carry, weight, feature and noise of each preset's table at six calls: moved by a thousandth, negated,
  and exchanged with its neighbor;
- *operators* (`--operators` alone, as long again): each +, -, *, / exchanged for its inverse.

A fault that no test of tests/diffusion notices survives. Survivors are printed with file, line and change; any makes
the exit status 1. What cannot matter is exempt and says why: `mutations/exempt.py`.

    python tests/mutate.py                      numbers and tables
    python tests/mutate.py --module multistep   the numbers of one module; may be repeated
    python tests/mutate.py --tables             tables only
    python tests/mutate.py --operators          operators, of all modules or of those named
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path

from mutations import sources, tables, trials
from mutations.exempt import EXEMPT

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "audiodiff" / "diffusion"


def main() -> int:
    """Exit status: 0 if every fault is noticed."""
    arguments = _arguments()
    os.chdir(ROOT)
    began = time.monotonic()
    trials.prepare()
    faults, stale = _source_faults(arguments)
    if arguments.tables or not (arguments.module or arguments.operators):
        faults += _in_a_fork(tables.faults)
    survivors, failed = _survivors(faults, arguments)
    print(f"{len(faults)} faults in {time.monotonic() - began:.0f} s: {len(survivors)} survive")
    for title, lines in (
        ("survives", survivors),
        ("fails without any fault", failed),
        ("exempt, but not in the source", stale),
    ):
        for line in lines:
            print(f"{title}: {line}")
    return int(bool(survivors or failed or stale))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--module", action="append", default=[], help="a module of audiodiff.diffusion, such as samplers.integral"
    )
    parser.add_argument("--tables", action="store_true", help="the tables of the presets")
    parser.add_argument("--operators", action="store_true", help="operators in the place of numbers")
    parser.add_argument("--workers", type=int, default=2, help="how many faults are tried at once")
    parser.add_argument("--verbose", action="store_true", help="print each fault with the test that noticed it")
    return parser.parse_args()


def _source_faults(arguments: argparse.Namespace) -> tuple[list[sources.SourceFault], list[tuple[str, str, str]]]:
    """The faults to try, and the exemptions that exempt nothing."""
    if arguments.tables and not arguments.module:
        return [], []
    kind = "operator" if arguments.operators else "number"
    named = [SOURCES.joinpath(*name.split(".")).with_suffix(".py") for name in arguments.module]
    paths = named or sorted(path for path in SOURCES.rglob("*.py") if path.name != "__init__.py")
    found = [fault for path in paths for fault in sources.faults(path, kind)]
    keys = {(fault.module, fault.source, fault.before) for fault in found}
    numeric = kind == "number"
    stale = [
        key
        for key in EXEMPT
        if key not in keys
        and key[0] in {sources.module_name(path) for path in paths}
        and (key[2][0].isdigit() == numeric)
    ]
    return [fault for fault in found if (fault.module, fault.source, fault.before) not in EXEMPT], stale


def _in_a_fork(function):
    """What a function returns, computed in a process of its own, since this one may not import the process."""
    with get_context("fork").Pool(1) as pool:
        return pool.apply(function)


def _survivors(faults: list, arguments: argparse.Namespace) -> tuple[list, list[str]]:
    """The faults that no test notices, and the tests that fail without one.

    A fault is first tried with the tests of its own module, and the few left with all others.
    """
    homes = {fault.home for fault in faults}
    tests = ROOT / trials.TESTS
    every = {path.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    failed: list[str] = []
    for files, home in ((homes & every, True), (every, False)):
        if not faults:
            break
        seconds, broken = trials.sound(sorted(files), arguments.workers)
        failed += [test for test in broken if test not in failed]
        print(f"{len(faults)} faults before {len(seconds)} tests, {sum(seconds.values()):.0f} s of them", flush=True)
        faults = _unnoticed(trials.verdicts(faults, seconds, arguments.workers, home), faults, arguments.verbose)
    return faults, failed


def _unnoticed(verdicts: Iterable[trials.Verdict], faults: list, verbose: bool) -> list:
    """The faults that no test noticed; prints a line for each module when its last fault has been tried."""
    left = Counter(fault.module for fault in faults)
    total, unnoticed = dict(left), []
    for fault, noticed_by in verdicts:
        left[fault.module] -= 1
        if verbose:
            print(f"  {fault}: {noticed_by or 'not noticed'}", flush=True)
        if not noticed_by:
            unnoticed.append(fault)
        if not left[fault.module]:
            missed = sum(other.module == fault.module for other in unnoticed)
            print(f"{fault.module}: {total[fault.module] - missed} of {total[fault.module]} noticed", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
