"""Sampling that stops when its request is canceled.

Gradio can stop generators only: when a visitor cancels or leaves, it closes the generator of that event at its next
value. So an endpoint yields after every step of the sampler, which runs in its own thread and stops at its next step.
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
    """Raised in the sampling thread: nobody waits for the result."""


def run_with_progress(
    work: Callable[[Callable[[Progress], None]], T],
    bar: gr.Progress,
    lock: Lock,
    preview: Callable[[Progress], Any] = lambda _: None,
) -> Generator[Any, None, T]:
    """Run `work` in a thread, yield after each of its steps, and return its result.

    Args:
        work: takes a progress callback.
        bar: shows the progress on the page.
        lock: of the model; a canceled request holds it until its last step has ended.
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
            with lock:
                if stopped.is_set():
                    raise Stopped
                return work(callback)
        finally:
            reports.put(None)

    pool = ThreadPoolExecutor(1)
    try:
        result = pool.submit(run)
        while (report := reports.get()) is not None:
            progress, shown = report
            bar((progress.done, progress.total), desc="sampling", unit="steps")
            yield shown
        return result.result()
    finally:
        stopped.set()
        pool.shutdown(wait=False)  # not waited for: Gradio closes generators in the thread that serves all visitors
