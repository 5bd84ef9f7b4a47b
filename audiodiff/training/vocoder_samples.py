"""Held-out clips resynthesized during training, and the export of the model at each validation."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.training.export import CardText, export
from audiodiff.training.sample_pair import save_pair

USE = """    from audiodiff import Vocoder
    audio = Vocoder.from_pretrained("this/folder").generate(mel)

Mel spec: {spec}"""


class VocoderSamples(Callback):
    """Resynthesizes held-out clips with the averaged weights at each validation, and exports the model.

    Args:
        folder: of the run. Audio and spectrograms are saved to `<folder>/samples/step_<n>/`.
        clips: number of clips.
        steps: sampling steps.
        history: minutes of training between two exports of the history, as of `export`.
    """

    def __init__(self, folder: str, clips: NonNegative = 3, steps: Positive = 6, history: PositiveFloat | None = None):
        self.folder, self.clips, self.steps, self.history = Path(folder), clips, steps, history

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Generate and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        vocoder = Vocoder(module.model, module.device)
        for i in range(min(self.clips, len(trainer.datamodule.held_out))):
            item = trainer.datamodule.held_out[i]
            try:
                self._render(trainer, vocoder, item["clip"], item["waveform"], i)
            except NotFinite as error:
                rank_zero_warn(f"step {trainer.global_step}: {item['clip']} is not resynthesized: {error.problem}")
        use = USE.format(spec=module.model.mel_spec)
        text = CardText("audio-to-audio", "A mel-conditioned diffusion vocoder", use)
        export(trainer, module, self.folder, text, self.history)

    def _render(self, trainer: lightning.Trainer, vocoder: Vocoder, name: str, waveform: Tensor, index: int) -> None:
        recording = Audio(waveform, vocoder.sample_rate)
        output = vocoder.resynthesize(recording, steps=self.steps, clip_seeds=[index])
        save_pair(trainer, self.folder, name, recording, output, (vocoder.mel(recording), vocoder.mel(output)))
