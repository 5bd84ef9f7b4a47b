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
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any, NamedTuple

import torch

from audiodiff.errors import UserError, first_line
from audiodiff.extras import load_module
from audiodiff.rendering.monitor import ClipResult, Collector, Monitor
from audiodiff.rendering.options import ExecutionOptions
from audiodiff.rendering.renderer import Executor, Renderer, in_this_process

Load = Callable[[], Renderer]  # can be pickled
_AHEAD = 2  # shards per worker that are handed out: one in work, one waiting
_RETRIES = 10  # of a shard on a cluster, whose nodes may go
_TERMINATED = 128 + signal.SIGTERM  # exit status
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
            with _ended_in_order(), _Pool(self.workers) as pool:
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
        # Of a process that is killed, this one's semaphores are left to the tracker, which removes them with a warning.
        given = os.environ.get("PYTHONWARNINGS")
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (given, "ignore:resource_tracker")))
        resource_tracker.ensure_running()
        if given is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = given
        super().__init__(workers, multiprocessing.get_context("spawn"), _begin)
        self._others = set(multiprocessing.active_children())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self.shutdown(wait=True)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Where this process is asked to terminate, end it as an error does, so that its workers end with it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin() -> None:
    """Set up a worker: Ctrl-C is for the first process, which then ends this one; temporary files are removed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.unraisablehook = _end_all_the_same
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_all_the_same(raised: Any) -> None:
    """End a worker also where its exit is raised in a finalizer, which would swallow it and print a traceback."""
    if isinstance(raised.exc_value, SystemExit):
        os._exit(1)
    sys.__unraisablehook__(raised)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@dataclass(frozen=True)
class RayTasks:
    """Renders in tasks of a Ray cluster, which schedules, places and retries them.

    Nodes have the package, the model and, unless they are URLs, inputs and outputs under the same paths.

    Args:
        load: loads the renderer, in each process of the cluster.
        workers: tasks at once, at most; None: as many as the cluster has processors, whenever it grows.
        address: of the cluster, such as "auto" or ray://host:10001; None: one on this machine for the run.
    """

    load: Load
    workers: int | None = None
    address: str | None = None

    def __call__(self, _: Renderer, shards: Iterable[Sequence[Any]], monitor: Monitor) -> None:
        """Have all shards rendered.

        Raises:
            UserError: as `Renderer.render`, the cluster cannot be reached, or it gives up a shard.
        """
        ray = load_module("ray")
        own = not ray.is_initialized()
        try:
            if own:
                ray.init(self.address, log_to_driver=False, include_dashboard=False if self.address is None else None)
            self._run(ray, iter(shards), monitor)
        except (ray.exceptions.RayError, ConnectionError, ValueError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(error, UserError) or isinstance(cause, UserError):
                raise cause or error from None
            fix = "check --address, and run the same command again"
            raise UserError("ray", f"cannot go on ({first_line(error)})", fix) from error
        finally:
            if own:
                ray.shutdown()

    def _run(self, ray: ModuleType, shards: Iterator[Sequence[Any]], monitor: Monitor) -> None:
        # A shard may be rendered again wherever its worker, or its whole node, was lost.
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(render_shard)
        load, at_work = ray.put(pickle.dumps(self.load)), set()
        while True:
            most = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            at_work |= {task.remote(load, shard) for shard in islice(shards, max(0, _AHEAD * most - len(at_work)))}
            if not at_work:
                return
            done, rest = ray.wait(list(at_work))
            at_work = set(rest)
            for result in ray.get(done):
                result.relay(monitor)


def _local(options: ExecutionOptions, load: Load) -> Executor:
    if options.address is not None:
        raise UserError(f"address {options.address}", "is of a Ray cluster", "add --executor ray")
    return in_this_process if options.workers is None else LocalProcesses(load, options.workers)


# By the name of the option: how an executor is made.
EXECUTORS: dict[str, Callable[[ExecutionOptions, Load], Executor]] = {
    "local": _local,
    "ray": lambda options, load: RayTasks(load, options.workers, options.address),
}
