"""Sampling that ends with its visit.

Gradio can end generators alone: where a visitor cancels, or has left, it closes the generator of that event at its next
value. So an endpoint yields after every step of the sampler, which runs in a thread of its own and is stopped at its
next step.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Lock
from typing import Any, TypeVar

import gradio as gr

from audiodiff.pipelines.pipeline import Progress

T = TypeVar("T")


class Stopped(Exception):
    """Raised in the thread that samples: nobody waits for the result."""


def run_with_progress(
    work: Callable[[Callable[[Progress], None]], T], bar: gr.Progress, lock: Lock
) -> Generator[dict[str, Any], None, T]:
    """Run `work` in a thread, and yield an empty update after each of its steps; its result is returned.

    Args:
        work: takes the callback that it reports its progress to.
        bar: shows the progress on the page.
        lock: of the model; a visit that was cancelled holds it until its last step has ended.

    Raises:
        Exception: what `work` raises.
    """
    reports: SimpleQueue[Progress | None] = SimpleQueue()
    stopped = Event()

    def callback(progress: Progress) -> None:
        if stopped.is_set():
            raise Stopped
        reports.put(progress)

    def run() -> T:
        try:
            with lock:
                if stopped.is_set():
                    raise Stopped
                return work(callback)
        finally:
            reports.put(None)

    pool = ThreadPoolExecutor(1)
    try:
        result = pool.submit(run)
        while (progress := reports.get()) is not None:
            bar((progress.done, progress.total), desc="sampling", unit="steps")
            yield gr.skip()
        return result.result()
    finally:
        stopped.set()
        pool.shutdown(wait=False)  # not waited for: Gradio closes generators in the thread that serves all visitors
