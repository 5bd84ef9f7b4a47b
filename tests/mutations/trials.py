"""Runs tests in forked processes that carry a fault, the likeliest to notice it first.

torch takes seconds to import and a trial one second, so this process imports what the tests need from elsewhere, never
`audiodiff.diffusion`, and every trial is a fork of it. A trial ends with the first test that fails. Tests that noticed
another fault of the same module lately are evaluated first, then quick ones before slow ones.
"""

import gc
import importlib
import os
import signal
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

import pytest
from hypothesis import HealthCheck, Phase, settings

TESTS = "tests/diffusion"
IMPORTED_ONCE = ("torch", "torch._dynamo", "torch.func", "numpy", "mpmath", "scipy.integrate", "audiodiff.errors")
# Seconds of the processor that a test may take beside this many times what it takes on sound code.
PATIENCE, SLACK = 20.0, 10.0
LATELY = 6


class Fault(Protocol):
    """What trials ask of a fault."""

    module: str
    home: str

    def applied(self) -> Any:
        """A context in which the fault is there."""


class Verdict(NamedTuple):
    """What became of a fault."""

    fault: Fault
    noticed_by: str
    """The id of the test that failed, or what else happened; empty if nothing did."""


class _Watch:
    """A pytest plugin: runs the given tests in the given order, keeps how long each took and which failed."""

    def __init__(self, tests: Sequence[str] | None, limits: dict[str, float]):
        self.order = None if tests is None else {test: i for i, test in enumerate(tests)}
        self.limits = limits
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            chosen = [item for item in items if item.nodeid in self.order]
            items[:] = sorted(chosen, key=lambda item: self.order[item.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(f"import of {report.nodeid}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self.limits:
            signal.setitimer(signal.ITIMER_PROF, PATIENCE + SLACK * self.limits.get(nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def prepare() -> None:
    """Import what every trial needs, for one thread each, and make property tests repeat themselves."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    settings.register_profile(
        "mutate",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=25,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutate")
    gc.freeze()


def sound(files: Sequence[str], workers: int) -> tuple[dict[str, float], list[str]]:
    """The seconds of each test on the code as it is, and the tests that fail on it."""

    def measure(file: str) -> tuple[dict[str, float], list[str]]:
        watch = _run(None, {}, [f"{TESTS}/{file}"])
        return {test: s for test, s in watch.seconds.items() if test not in watch.failed}, watch.failed

    seconds: dict[str, float] = {}
    failed: list[str] = []
    for outputs in _in_forks([(file, lambda file=file: iter([measure(file)])) for file in files], workers):
        for times, broken in outputs.said:
            seconds |= times
            failed += broken
        failed += [f"{outputs.task} ended early"] * (not outputs.said)
    return seconds, failed


def verdicts(faults: Iterable[Fault], seconds: dict[str, float], workers: int, home: bool) -> Iterator[Verdict]:
    """Ask the tests in `seconds` about every fault: those of its own file if `home`, else those of all others."""
    lately: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LATELY))

    def attempts(batch: Sequence[Fault]) -> Iterator[str]:
        for fault in batch:
            with fault.applied():
                yield _first_to_notice(_stages(fault, seconds, lately[fault.module], home), seconds)

    waiting = deque(_batches(faults))
    while waiting:
        tasks = [(batch, lambda batch=batch: attempts(batch)) for batch in waiting]
        waiting.clear()
        for batch, said, signal_number in _in_forks(tasks, workers):
            if len(said) < len(batch):  # the process was ended in the middle of a trial
                said = [*said, f"signal {signal_number}"]
                waiting.extend([batch[len(said) :]] * (len(said) < len(batch)))
            for fault, test in zip(batch, said, strict=False):
                if "::" in test and test not in lately[fault.module]:
                    lately[fault.module].appendleft(test)
                yield Verdict(fault, test)


def _batches(faults: Iterable[Fault]) -> Iterator[list[Fault]]:
    for home, group in groupby(faults, key=lambda fault: (fault.module, fault.home)):
        alone = home[1] != "samplers/test_tables.py"
        group = list(group)
        yield from ([fault] for fault in group) if alone else [group]


def _stages(fault: Fault, seconds: dict[str, float], lately: Sequence[str], home: bool) -> list[list[str]]:
    """The tests in the order in which they run, in two runs of pytest."""
    quick_first = sorted(seconds, key=seconds.__getitem__)
    tests = [test for test in quick_first if test.startswith(f"{TESTS}/{fault.home}::") == home]
    # Of the tests of the tables those of the preset at hand.
    name = fault.module.split()[-1]
    tests.sort(key=lambda test: not test.endswith((f"[{name}]", f"-{name}]")))
    return [list(lately), [test for test in tests if test not in lately]]


def _first_to_notice(stages: list[list[str]], seconds: dict[str, float]) -> str:
    for tests in filter(None, stages):
        watch = _run(tests, seconds, sorted({test.split("::")[0] for test in tests}))
        if watch.failed:
            return watch.failed[0]
    return ""


def _run(tests: Sequence[str] | None, limits: dict[str, float], files: Sequence[str]) -> _Watch:
    watch = _Watch(tests, limits)
    stop = ["-x"] if limits else []
    status = pytest.main([*files, *stop, "-q", "--tb=no", "-p", "no:cacheprovider", "--no-header"], plugins=[watch])
    if status == pytest.ExitCode.USAGE_ERROR and limits:
        watch.failed.append(f"import of {TESTS}/conftest.py")
    elif status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        raise RuntimeError(f"pytest ended with {status!r}")
    return watch


class _Answers(NamedTuple):
    """What a forked task said before it ended."""

    task: Any
    said: list[Any]
    signal_number: int
    """What ended it: SIGPROF where a test took longer than it may; 0 if it came to its end."""


def _in_forks(tasks: Iterable[tuple[Any, Callable[[], Iterator[Any]]]], workers: int) -> Iterator[_Answers]:
    """Run each task in a fork of this process, `workers` at a time; as each ends, what its iterator gave."""
    context, queue, running = get_context("fork"), deque(tasks), {}
    while queue or running:
        while queue and len(running) < workers:
            task, function = queue.popleft()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_speak, args=(function, sender))
            process.start()
            sender.close()
            running[receiver] = (task, process, [])
        for receiver in wait(list(running)):
            task, process, said = running[receiver]
            with suppress(EOFError):
                said.append(receiver.recv())
                continue
            del running[receiver]
            process.join()
            if process.exitcode > 0 or process.exitcode == -signal.SIGKILL:
                raise RuntimeError("a trial broke down, which says nothing about its fault: see above")
            yield _Answers(task, said, -process.exitcode)


def _speak(function: Callable[[], Iterator[Any]], sender: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for output in function():
        sender.send(output)
