"""What every page needs: sound for a player, mistakes as one line, and how long a visit's files are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import numpy as np

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError

Player = tuple[int, np.ndarray]
HOUR = 3600


def player(audio: Audio) -> Player:
    """Sound (T,) or (C, T) for a `gr.Audio`: 16-bit, because Gradio would scale floats to full level."""
    samples = audio.samples.detach().cpu().clamp(-1, 1).numpy()
    return audio.sample_rate, (samples * 32767).round().astype(np.int16).T


@contextmanager
def spoken() -> Iterator[None]:
    """Show what a visitor did wrong as one line on the page; an upload is called by its name, not by its path here."""
    try:
        yield
    except UserError as error:
        subject = Path(error.subject).name if Path(error.subject).is_file() else error.subject
        raise gr.Error(str(UserError(subject, error.problem, error.fix)), print_exception=False) from error
