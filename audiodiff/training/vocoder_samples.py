"""Held-out clips heard and seen while training, and the model exported at each validation."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.files import short_name
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.ranges import NonNegative, Positive
from audiodiff.training.export import Kind, export
from audiodiff.training.figure import keep, spectrogram_pair

USE = """    from audiodiff import Vocoder
    audio = Vocoder.from_pretrained("this/folder").generate(mel)

Mel spec: {spec}"""


class VocoderSamples(Callback):
    """At each validation: render held-out clips with the averaged weights, then export the model to `<folder>/model`.

    Args:
        folder: of the run. Audio and spectrograms go to `<folder>/samples/step_<n>/`.
        clips: how many are rendered.
        steps: network calls.
        data: what the model was trained on, for the model card.
    """

    def __init__(self, folder: str, clips: NonNegative = 3, steps: Positive = 6, data: str = ""):
        self.folder, self.clips, self.steps, self.data = Path(folder), clips, steps, data

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Render and export. Weight averaging must stand later in the list of callbacks: it has yet to swap back."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        vocoder = Vocoder(module.model, module.device)
        for i in range(min(self.clips, len(trainer.datamodule.held_out))):
            item = trainer.datamodule.held_out[i]
            try:
                self._render(trainer, vocoder, item["clip"], item["waveform"], i)
            except NotFinite as error:
                rank_zero_warn(f"step {trainer.global_step}: {item['clip']} is not rendered: {error.problem}")
        use = USE.format(spec=module.model.mel_spec)
        kind = Kind("audio-to-audio", "A mel-conditioned diffusion vocoder", use)
        export(trainer, module, self.folder, self.data, kind)

    def _render(self, trainer: lightning.Trainer, vocoder: Vocoder, name: str, waveform: Tensor, index: int) -> None:
        recording = Audio(waveform, vocoder.sample_rate)
        made = vocoder.resynthesize(recording, steps=self.steps, seeds=index)
        stem = self.folder / "samples" / f"step_{trainer.global_step:09d}" / short_name(name.replace("/", "_"))
        write(stem.with_name(stem.name + ".wav"), made)
        write(stem.with_name(stem.name + "_original.wav"), recording)
        figure = spectrogram_pair(vocoder.mel(recording), vocoder.mel(made), name)
        keep(figure, stem.with_name(stem.name + ".png"))
        if isinstance(trainer.logger, TensorBoardLogger):
            board, step = trainer.logger.experiment, trainer.global_step
            board.add_audio(f"held_out/{name}", made.samples, step, made.sample_rate)
            board.add_audio(f"held_out/{name}_original", recording.samples, step, recording.sample_rate)
            board.add_figure(f"held_out/{name}", figure, step)
