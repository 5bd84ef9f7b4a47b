"""Sampling that stops when its request is canceled.

Gradio can stop generators only: when a visitor cancels or leaves, it closes the generator of that event at its next
value. So an endpoint yields after every step of the sampler, which runs in its own thread and stops at its next step.
That thread is the same for all requests: PyTorch and the allocator hold memory for every thread that computes.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Executor
from queue import SimpleQueue
from threading import Event
from typing import Any, TypeVar

import gradio as gr

from audiodiff.pipelines.pipeline import Progress

T = TypeVar("T")


class Stopped(Exception):
    """Raised in the sampling thread: nobody waits for the result."""


def run_with_progress(
    work: Callable[[Callable[[Progress], None]], T],
    bar: gr.Progress,
    worker: Executor,
    preview: Callable[[Progress], Any] = lambda _: None,
) -> Generator[Any, None, T]:
    """Run `work` in a worker's thread, yield after each of its steps, and return its result.

    Args:
        work: takes a progress callback.
        bar: shows the progress on the page.
        worker: of one thread; a canceled request holds it until its last step has ended.
        preview: makes what is yielded after a step, in the thread of `work`; None: nothing to show.

    Raises:
        Exception: what `work` raises.
    """
    reports: SimpleQueue[tuple[Progress, Any] | None] = SimpleQueue()
    stopped = Event()

    def callback(progress: Progress) -> None:
        if stopped.is_set():
            raise Stopped
        reports.put((progress, preview(progress)))

    def run() -> T:
        try:
            if stopped.is_set():
                raise Stopped
            return work(callback)
        finally:
            reports.put(None)

    result = worker.submit(run)
    try:
        while (report := reports.get()) is not None:
            progress, shown = report
            bar((progress.done, progress.total), desc="sampling", unit="steps")
            yield shown
        return result.result()
    finally:
        stopped.set()  # not waited for: Gradio closes generators in the thread that serves all visitors
