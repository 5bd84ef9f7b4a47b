"""Executors: where shards are rendered (`rendering.renderer`): in processes of this machine, or by Ray on a cluster.

A worker loads the model once and has one thread, so that the bytes do not depend on how many workers there are. A shard
whose worker is killed is rendered again by another one, which skips the files that are finished.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import torch

from audiodiff.errors import UserError
from audiodiff.rendering.monitor import ClipResult, Collector, Monitor
from audiodiff.rendering.options import ExecutionOptions
from audiodiff.rendering.renderer import Executor, Renderer, in_this_process

Load = Callable[[], Renderer]  # can be pickled
_AHEAD = 2  # shards per worker that are handed out: one in work, one waiting
_MAX_DEATHS = 3  # of workers, without a shard that is finished in between


class ShardResult(NamedTuple):
    """What became of a shard's clips, and the warnings on the way."""

    results: list[ClipResult]
    warnings: list[str]

    def relay(self, monitor: Monitor) -> None:
        """Tell the monitor of the run, in its process."""
        for text in self.warnings:
            warnings.warn(text, stacklevel=2)
        for result in self.results:
            monitor.add(result)


@lru_cache(maxsize=1)
def _renderer(load: bytes) -> Renderer:
    """The renderer of this process: the model is loaded for the first shard."""
    torch.set_num_threads(1)
    return pickle.loads(load)()


def render_shard(load: bytes, shard: Sequence[Any]) -> ShardResult:
    """Render a shard in a worker.

    Args:
        load: a pickled `Load`.
        shard: rows of its renderer.
    """
    collector = Collector()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        _renderer(load)(shard, collector)
    return ShardResult(collector.results, [str(warning.message) for warning in caught])


@dataclass(frozen=True)
class LocalProcesses:
    """Renders in several processes of this machine, of one thread each.

    Args:
        load: loads the renderer, in each process.
        workers: processes.
    """

    load: Load
    workers: int

    def __call__(self, _: Renderer, shards: Iterable[Sequence[Any]], monitor: Monitor) -> None:
        """Have all shards rendered.

        Raises:
            UserError: as `Renderer.render`, or workers are killed one after the other.
        """
        load, rest, waiting, deaths = pickle.dumps(self.load), iter(shards), deque[Sequence[Any]](), 0
        while deaths <= _MAX_DEATHS:
            at_work: dict[Future, Sequence[Any]] = {}
            with _Pool(self.workers) as pool:
                try:
                    while True:
                        while len(at_work) < _AHEAD * self.workers and _fill(waiting, rest):
                            future = pool.submit(render_shard, load, waiting[0])
                            at_work[future] = waiting.popleft()
                        if not at_work:
                            return
                        for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                            future.result().relay(monitor)
                            del at_work[future]
                            deaths = 0
                except BrokenProcessPool:
                    waiting.extendleft(at_work.values())
                    deaths += 1
        problem = "was killed again and again, probably for lack of memory"
        raise UserError(
            "a worker", problem, "use fewer --workers or less --batch-memory, and run the same command again"
        )


def _fill(waiting: deque, shards: Iterator[Sequence[Any]]) -> bool:
    """Have the next shard waiting, if there is one."""
    if not waiting:
        waiting.extend(islice(shards, 1))
    return bool(waiting)


class _Pool(ProcessPoolExecutor):
    """A pool whose processes end at once when its block is left by an error, and when this process is killed."""

    def __init__(self, workers: int):
        super().__init__(workers, multiprocessing.get_context("spawn"), _begin)
        self._others = set(multiprocessing.active_children())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self.shutdown(wait=True)


def _begin() -> None:
    """Set up a worker: Ctrl-C is for the first process, which then ends this one; temporary files are removed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _local(options: ExecutionOptions, load: Load) -> Executor:
    return in_this_process if options.workers is None else LocalProcesses(load, options.workers)


# By the name of the option: how an executor is made.
EXECUTORS: dict[str, Callable[[ExecutionOptions, Load], Executor]] = {"local": _local}
