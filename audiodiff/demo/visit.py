"""What every page needs: sound for a player, one line for whatever goes wrong, how long a visit's files are kept."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import gradio as gr
import numpy as np
import torch

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError

T = TypeVar("T")
Player = tuple[int, np.ndarray]
HOUR = 3600


def player(audio: Audio) -> Player:
    """Sound (T,) or (C, T) for a `gr.Audio`: 16-bit, because Gradio would scale floats to full level."""
    samples = audio.samples.detach().cpu().clamp(-1, 1).numpy()
    return audio.sample_rate, (samples * 32767).round().astype(np.int16).T


def stopwatch(work: Callable[[], T]) -> tuple[T, float]:
    """The result of some work, and the seconds that it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


@contextmanager
def show_errors() -> Iterator[None]:
    """Show whatever goes wrong as one line on the page; an upload is called by its name, not by its path here."""
    try:
        yield
    except UserError as error:
        subject = os.path.basename(error.subject) if os.path.isfile(error.subject) else error.subject
        raise gr.Error(str(UserError(subject, error.problem, error.fix)), print_exception=False) from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise gr.Error("There is not enough memory for this now: try something shorter, or later.") from error
    except Exception as error:
        raise gr.Error("Internal error; see the server's log.") from error
