"""What verbs that write audio print, above their progress bar rather than through it."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from tqdm import tqdm

from audiodiff.errors import UserError
from audiodiff.rendering.monitor import Outcome

if TYPE_CHECKING:
    from audiodiff.rendering.registry import Request


def report_error(error: UserError) -> None:
    """Print the error of one file; the others go on."""
    tqdm.write(f"error: {error}", file=sys.stderr)


class ErrorReport:
    """Prints the error of each file that fails, and counts them."""

    def __init__(self):
        self.count = 0

    def __call__(self, error: UserError) -> None:
        """Print and count."""
        self.count += 1
        report_error(error)


@contextmanager
def warnings_above_progress() -> Iterator[None]:
    """Print warnings as one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: tqdm.write(f"warning: {message}", file=sys.stderr)
        yield


def render_reported(model: Path, request: "Request") -> Outcome:
    """Render a request and print its errors and warnings; inputs that are none count as failed.

    Raises:
        UserError: as `rendering.registry.render_request`.
    """
    from audiodiff.rendering.registry import render_request

    report = ErrorReport()
    with warnings_above_progress():
        outcome = render_request(model, request, report)
    outcome.failed = report.count
    return outcome


def print_outcome(done: str, outcome: Outcome, out: Path, note: str = "") -> None:
    """Print how many files were written, skipped and failed.

    Args:
        done: past participle of what was done.
        outcome: of the verb.
        out: output folder.
        note: printed behind it.

    Raises:
        Exit: with status 1, if one failed.
    """
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    print(f"{outcome.written} {done}, {outcome.skipped} skipped (exist){failed}: {out}{note}")
    if outcome.failed:
        raise typer.Exit(1)
