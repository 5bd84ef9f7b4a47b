"""Scoring many clips on several processes, each of one thread; what a metric loads is loaded once a process."""

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from audiodiff.metrics import METRICS, REPORT_METRICS


@dataclass(frozen=True)
class Pair:
    """One clip to metric.

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
class Scores:
    """Scores of a clip as [system][metric]; the seconds each metric took for all systems; how much the clip counts."""

    scores: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


def metric(case: Pair, names: Sequence[str] = tuple(REPORT_METRICS)) -> Scores:
    """Ask the metrics of these names about every system's version of one clip."""
    scores: dict[str, dict[str, float]] = {system: {} for system in case.estimates}
    seconds = dict.fromkeys(names, 0.0)
    for system, estimate in case.estimates.items():
        for name in names:
            start = time.perf_counter()
            scores[system][name] = METRICS[name](case.reference, estimate, case.sample_rate, case.said)
            seconds[name] += time.perf_counter() - start
    weights = {name: METRICS[name].weight(case.reference, case.sample_rate, case.said) for name in names}
    return Scores(scores, seconds, weights)


class MetricPool:
    """Processes that metric, until the `with` block ends; between two rounds they wait and cost nothing.

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

    def __enter__(self) -> "MetricPool":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes; what was not begun is dropped."""
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def __call__(self, pairs: Iterable[Pair], names: Sequence[str] = tuple(REPORT_METRICS)) -> Iterator[Scores]:
        """Verdicts in the order of `pairs`."""
        return (self._executor.map if self._executor else map)(partial(metric, names=tuple(names)), pairs)


def _cores() -> int:
    """Cores that this process may use, where the system says (Linux); else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def score_all(pairs: Iterable[Pair], workers: int | None = None) -> Iterator[Scores]:
    """Verdicts of `REPORT_METRICS` in the order of `pairs`, by a pool of its own."""
    with MetricPool(workers) as pool:
        yield from pool(pairs)
