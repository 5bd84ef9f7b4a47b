"""Held-out clips heard and seen while training, and the model exported at each validation."""

from pathlib import Path

import lightning
import matplotlib
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.files import atomic
from audiodiff.synthesis.vocoder import Vocoder
from audiodiff.training.export import export, in_use

matplotlib.use("Agg")
from matplotlib import pyplot

CARD = """---
library_name: audiodiff
pipeline_tag: audio-to-audio
---
# A mel-conditioned diffusion vocoder

Trained with audiodiff {version} for {steps} optimiser steps on {data}: {audio_hours:.2f} hours of audio seen in
{minutes:.1f} minutes of wall time on {hardware}.

    from audiodiff import Vocoder
    audio = Vocoder.from_pretrained("this/folder").generate(mel)

Mel spec: {spec}

Data licences: {licences}
"""


class HeldOut(Callback):
    """At each validation: render held-out clips with the averaged weights, then export the model to `<folder>/model`.

    Args:
        folder: of the run. Audio and spectrograms go to `<folder>/samples/step_<n>/`.
        clips: how many are rendered.
        steps: network calls.
        data: what the model was trained on, for the model card.
    """

    def __init__(self, folder: str, clips: int = 3, steps: int = 6, data: str = ""):
        self.folder, self.clips, self.steps, self.data = Path(folder), clips, steps, data

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Render and export. Weight averaging must stand later in the list of callbacks: it has yet to swap back."""
        if trainer.sanity_checking:
            return
        with in_use(module.model):
            vocoder = Vocoder(module.model, module.device)
            for i in range(min(self.clips, len(trainer.datamodule.held_out))):
                item = trainer.datamodule.held_out[i]
                self._render(trainer, vocoder, item["clip"], item["waveform"], i)
        export(trainer, module, self.folder, self.data, CARD, spec=module.model.mel_spec)

    def _render(self, trainer: lightning.Trainer, vocoder: Vocoder, name: str, waveform: Tensor, index: int) -> None:
        recording = Audio(waveform, vocoder.sample_rate)
        made = vocoder.resynthesise(recording, steps=self.steps, seeds=index)
        stem = self.folder / "samples" / f"step_{trainer.global_step:09d}" / name.replace("/", "_")
        write(stem.with_name(stem.name + ".wav"), made)
        write(stem.with_name(stem.name + "_original.wav"), recording)
        figure = spectrogram_pair(vocoder.mel(recording), vocoder.mel(made), name)
        with atomic(stem.with_name(stem.name + ".png")) as temporary:
            figure.savefig(temporary, dpi=90)
        if isinstance(trainer.logger, TensorBoardLogger):
            board, step = trainer.logger.experiment, trainer.global_step
            board.add_audio(f"held_out/{name}", made.samples, step, made.sample_rate)
            board.add_audio(f"held_out/{name}_original", recording.samples, step, recording.sample_rate)
            board.add_figure(f"held_out/{name}", figure, step)
        pyplot.close(figure)


def spectrogram_pair(original: Tensor, made: Tensor, title: str) -> pyplot.Figure:
    """Two log-mels (M, F), the original above what was made of it, on one colour scale."""
    figure, axes = pyplot.subplots(2, 1, figsize=(8, 4.5), sharex=True, layout="constrained")
    low, high = float(original.min()), float(original.max())
    for axis, mel, label in zip(axes, (original, made), ("original", "made"), strict=True):
        axis.imshow(mel.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
        axis.set_ylabel(f"{label}\nmel band")
    axes[1].set_xlabel("frame")
    figure.suptitle(title, fontsize=10)
    return figure
