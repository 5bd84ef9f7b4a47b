"""Held-out recordings and what a model makes of them, saved and logged during training."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lightning
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.errors import UserError
from audiodiff.files import short_name
from audiodiff.training.figure import save_figure, spectrogram_pair


class Pair(NamedTuple):
    """A recording, what a model makes of it, and the log-mels (M, F) of both."""

    recording: Audio
    output: Audio
    mels: tuple[Tensor, Tensor]


def save_pairs(
    trainer: lightning.Trainer,
    folder: Path,
    clips: int,
    render: Callable[[Tensor, int], Pair],
    done: str,
    refused: type[UserError] = UserError,
) -> None:
    """Render the first held-out clips, and save and log each pair.

    Args:
        trainer: with the clips.
        folder: of the run.
        clips: how many.
        render: of a waveform (T,) and its number.
        done: past participle of what is done to a clip, for the warning of one that is left out.
        refused: the errors that leave a clip out, such as of a silent one, or one that is too short.
    """
    for number in range(min(clips, len(trainer.datamodule.held_out))):
        item = trainer.datamodule.held_out[number]
        try:
            _save(trainer, folder, item["clip"], render(item["waveform"], number))
        except refused as error:
            rank_zero_warn(f"step {trainer.global_step}: {item['clip']} is not {done}: {error.problem}")


def _save(trainer: lightning.Trainer, folder: Path, name: str, pair: Pair) -> None:
    """Save both clips and a plot of their log-mels to `<folder>/samples/step_<n>/`, and log them."""
    recording, output, mels = pair
    stem = folder / "samples" / f"step_{trainer.global_step:09d}" / short_name(name.replace("/", "_"))
    write(stem.with_name(stem.name + ".wav"), output)
    write(stem.with_name(stem.name + "_original.wav"), recording)
    figure = spectrogram_pair(*mels, name)
    save_figure(figure, stem.with_name(stem.name + ".png"))
    if isinstance(trainer.logger, TensorBoardLogger):
        board, step = trainer.logger.experiment, trainer.global_step
        board.add_audio(f"held_out/{name}", output.samples, step, output.sample_rate)
        board.add_audio(f"held_out/{name}_original", recording.samples, step, recording.sample_rate)
        board.add_figure(f"held_out/{name}", figure, step)
