"""A held-out recording and what a model makes of it, saved and logged during training."""

from pathlib import Path

import lightning
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.files import short_name
from audiodiff.training.figure import save_figure, spectrogram_pair


def save_pair(
    trainer: lightning.Trainer, folder: Path, name: str, recording: Audio, output: Audio, mels: tuple[Tensor, Tensor]
) -> None:
    """Save both clips and a plot of their log-mels (M, F) to `<folder>/samples/step_<n>/`, and log them."""
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
