"""Scoring of clips in parallel processes of one thread each; a metric's network is loaded once per process."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from audiodiff.metrics import METRICS, REPORT_METRICS

Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True)
class Pair:
    """A recording and the outputs of systems for it.

    Attributes:
        reference: the recording (T,), in [-1, 1].
        estimates: output (T,) of each system, in [-1, 1].
        sample_rate: of both, in Hz.
        text: the text of an English recording ("" if unknown); None for other or unknown languages.
    """

    reference: np.ndarray
    estimates: dict[str, np.ndarray]
    sample_rate: int
    text: str | None = None


@dataclass(frozen=True)
class Scores:
    """Scores of a clip by system and metric, seconds by metric, and the weight of the clip by metric."""

    scores: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


def score(pair: Pair, names: Sequence[str] = tuple(REPORT_METRICS)) -> Scores:
    """Score the outputs of all systems for a clip."""
    scores: dict[str, dict[str, float]] = {system: {} for system in pair.estimates}
    seconds = dict.fromkeys(names, 0.0)
    for system, estimate in pair.estimates.items():
        for name in names:
            start = time.perf_counter()
            scores[system][name] = METRICS[name](pair.reference, estimate, pair.sample_rate, pair.text)
            seconds[name] += time.perf_counter() - start
    weights = {name: METRICS[name].weight(pair.reference, pair.sample_rate, pair.text) for name in names}
    return Scores(scores, seconds, weights)


class MetricPool:
    """Pool of processes that score, for the duration of a `with` block.

    Args:
        workers: number of processes; None: one per core; 0: this process.
    """

    def __init__(self, workers: int | None = None):
        self._executor: ProcessPoolExecutor | None = None
        if workers != 0:
            # Spawned, not forked: torch's threads do not survive a fork.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(workers or _cores(), context, torch.set_num_threads, (1,))

    def __enter__(self) -> "MetricPool":
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes; pending work is dropped."""
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def __call__(self, pairs: Iterable[Pair], names: Sequence[str] = tuple(REPORT_METRICS)) -> Iterator[Scores]:
        """Score pairs, in order."""
        return self.map(partial(score, names=tuple(names)), pairs)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function of a module to items, in order."""
        return (self._executor.map if self._executor else map)(function, items)


def _cores() -> int:
    """Number of cores that this process may use (on Linux), or of all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def score_all(pairs: Iterable[Pair], workers: int | None = None) -> Iterator[Scores]:
    """Score pairs by `REPORT_METRICS`, in order, in a pool of `workers` processes."""
    with MetricPool(workers) as pool:
        yield from pool(pairs)
