"""What all requests have: warnings, the time that they take, and one line for any error."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import gradio as gr
import torch

from audiodiff.errors import UserError

T = TypeVar("T")
HOUR = 3600  # seconds after which the files of a visit are deleted


def with_warnings(work: Callable[[], T]) -> tuple[T, list[str]]:
    """Run `work`: its result, and what it warned the user of, each once.

    Warnings are the process's: only one thread may run this at a time.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = work()
    return result, list(dict.fromkeys(str(one.message) for one in found if one.category is UserWarning))


def stopwatch(work: Callable[[], T]) -> tuple[T, float]:
    """Run `work`: its result, and the seconds that it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


@contextmanager
def show_errors() -> Iterator[None]:
    """Show any error as one line on the page; an upload is called by its file name, not by its path here."""
    try:
        yield
    except gr.Error:
        raise
    except UserError as error:
        subject = os.path.basename(error.subject) if os.path.isfile(error.subject) else error.subject
        raise gr.Error(str(UserError(subject, error.problem, error.fix)), print_exception=False) from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise gr.Error("Out of memory: try a shorter clip, or try again later.") from error
    except Exception as error:
        raise gr.Error("Internal error; see the server's log.") from error
