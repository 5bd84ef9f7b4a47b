"""Renders the rows of a table, of a folder or of a count: shard by shard, in this process or in others.

Rows are cut into shards of a few batches, in their order. A shard is rendered as if it were all there is: its rows are
sorted by length and cut into batches, and files that exist are skipped. So a shard is a function of its rows that may
be called again, at any time and anywhere: executors (`rendering.executors`) distribute shards, resuming repeats them,
and the bytes are the same in every case. Memory and the time to start do not grow with the number of rows, except for
the rows themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.pipelines.pipeline import Pipeline
from audiodiff.rendering import sidecar
from audiodiff.rendering.jobs import JobWriter
from audiodiff.rendering.monitor import Monitor, Observer, Outcome
from audiodiff.rendering.options import FileOptions

RowT = TypeVar("RowT")
COMMAND = "audiodiff render"
SHARD_BATCHES = 4  # enough to sort by length, few enough to share the last ones among workers


class Renderer(ABC, Generic[RowT]):
    """Renders rows with one model to one folder.

    Args:
        pipeline: the model.
        out: output folder.
        files: how files are written.
        command: that sidecars name.
    """

    def __init__(self, pipeline: Pipeline, out: Path, files: FileOptions, command: str = COMMAND):
        self.pipeline, self.out, self.files, self.command = pipeline, out, files, command

    @abstractmethod
    def check(self, rows: Sequence[RowT]) -> None:
        """Check the options of all rows, before any work.

        Raises:
            UserError: an option that the model does not take.
        """

    @abstractmethod
    def render(self, rows: Sequence[RowT], writer: JobWriter) -> None:
        """Render those of a shard's rows whose files are missing.

        Raises:
            UserError: a file cannot be written, or one exists that was rendered with other settings.
        """

    def __call__(self, rows: Sequence[RowT], observer: Observer) -> None:
        """Render a shard; raises as `render`."""
        sidecar.create_folder(self.out)  # on this machine
        self.render(rows, JobWriter(self.command, self.pipeline, self.out, self.files, observer))


class Executor(Protocol):
    """Has shards rendered, somewhere."""

    def __call__(self, renderer: Renderer, shards: Iterable[Sequence[Any]], monitor: Monitor) -> None:
        """Have all shards rendered; raises as `Renderer.render`."""


def in_this_process(renderer: Renderer, shards: Iterable[Sequence[Any]], monitor: Monitor) -> None:
    """The `Executor` that renders one shard after the other with the renderer itself."""
    for shard in shards:
        renderer(shard, monitor)


def shards_of(rows: Sequence[RowT], batch_size: int) -> Iterator[Sequence[RowT]]:
    """Rows in shards of `SHARD_BATCHES` batches."""
    size = SHARD_BATCHES * batch_size
    return (rows[start : start + size] for start in range(0, len(rows), size))


def render_all(
    renderer: Renderer[RowT],
    rows: Sequence[RowT],
    report: Callable[[UserError], None],
    executor: Executor = in_this_process,
    title: str = "rendering",
    log: str | None = None,
    quiet: bool = False,
) -> Outcome:
    """Render all rows whose files are missing.

    Args:
        renderer: of the model.
        rows: of the renderer's type.
        report: called with the error of each row that cannot be rendered; the others are.
        executor: has the shards rendered.
        title: of the progress bar.
        log: name of a log in the output folder.
        quiet: no progress bar.

    Raises:
        UserError: an option of a row is not of the model, the folder or a file in it cannot be written, another process
            writes to it, or a file exists that was rendered with other settings.
    """
    renderer.check(rows)
    with folder_lock(renderer.out):
        sidecar.create_folder(renderer.out)  # with the reason, where there is none
        with Monitor(title, len(rows), report, quiet, renderer.out / log if log else None) as monitor:
            executor(renderer, shards_of(rows, renderer.files.batch_size), monitor)
        return monitor.outcome
