"""Judging many clips on several processes, each of one thread; what a judge loads is loaded once a process."""

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from audiodiff.metrics import ALL, JUDGES


@dataclass(frozen=True)
class Case:
    """One clip to judge.

    Attributes:
        reference: the recording (T,), in [-1, 1].
        estimates: each system's version of it (T,), in [-1, 1].
        sample_rate: of both, in Hz.
        said: the text if it is English, "" if it is English of unknown text, None if it is not known to be English.
    """

    reference: np.ndarray
    estimates: dict[str, np.ndarray]
    sample_rate: int
    said: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Scores of a clip as [system][judge]; the seconds each judge took for all systems; how much the clip counts."""

    scores: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


def judge(case: Case, names: Sequence[str] = tuple(JUDGES)) -> Verdict:
    """Ask the judges of these names about every system's version of one clip."""
    scores: dict[str, dict[str, float]] = {system: {} for system in case.estimates}
    seconds = dict.fromkeys(names, 0.0)
    for system, estimate in case.estimates.items():
        for name in names:
            start = time.perf_counter()
            scores[system][name] = ALL[name](case.reference, estimate, case.sample_rate, case.said)
            seconds[name] += time.perf_counter() - start
    weights = {name: ALL[name].weight(case.reference, case.sample_rate, case.said) for name in names}
    return Verdict(scores, seconds, weights)


class Jury:
    """Processes that judge, until the `with` block ends; between two rounds they wait and cost nothing.

    Args:
        workers: how many; None: one a core; 0: this process.
    """

    def __init__(self, workers: int | None = None):
        self._executor: ProcessPoolExecutor | None = None
        if workers != 0:
            # Spawned, not forked: torch's threads do not survive a fork.
            context = multiprocessing.get_context("spawn")
            count = workers or _cores()
            self._executor = ProcessPoolExecutor(count, context, torch.set_num_threads, (1,))

    def __enter__(self) -> "Jury":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes; what was not begun is dropped."""
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def __call__(self, cases: Iterable[Case], names: Sequence[str] = tuple(JUDGES)) -> Iterator[Verdict]:
        """Verdicts in the order of `cases`."""
        return (self._executor.map if self._executor else map)(partial(judge, names=tuple(names)), cases)


def _cores() -> int:
    """Cores that this process may use, where the system says (Linux); else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def judge_all(cases: Iterable[Case], workers: int | None = None) -> Iterator[Verdict]:
    """Verdicts of `JUDGES` in the order of `cases`, by a jury of its own."""
    with Jury(workers) as jury:
        yield from jury(cases)
