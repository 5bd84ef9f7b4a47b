"""Judging many clips on several processes, each of one thread."""

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from audiodiff.metrics import JUDGES


@dataclass(frozen=True)
class Case:
    """One clip to judge: the recording (T,) and each system's version of it (T,), in [-1, 1]."""

    reference: np.ndarray
    estimates: dict[str, np.ndarray]
    sample_rate: int


@dataclass(frozen=True)
class Verdict:
    """Scores of a clip as [system][judge], and the seconds each judge took for all systems together."""

    scores: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)


def judge(case: Case) -> Verdict:
    """Ask every judge about every system's version of one clip."""
    scores: dict[str, dict[str, float]] = {system: {} for system in case.estimates}
    seconds = dict.fromkeys(JUDGES, 0.0)
    for system, estimate in case.estimates.items():
        for name, one in JUDGES.items():
            start = time.perf_counter()
            scores[system][name] = one(case.reference, estimate, case.sample_rate)
            seconds[name] += time.perf_counter() - start
    return Verdict(scores, seconds)


def judge_all(cases: Iterable[Case], workers: int | None = None) -> Iterator[Verdict]:
    """Verdicts in the order of `cases`; `workers` processes (None: one a core), 0 judges in this process."""
    if workers == 0:
        yield from map(judge, cases)
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    count = workers or len(os.sched_getaffinity(0))
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from executor.map(judge, cases)
    finally:
        executor.shutdown(cancel_futures=True)
