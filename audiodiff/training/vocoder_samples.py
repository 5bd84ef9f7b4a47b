"""Held-out clips resynthesized during training, and the export of the model at each validation."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.training.export import CardText, export
from audiodiff.training.sample_pair import Pair, save_pairs

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

        def render(waveform: Tensor, number: int) -> Pair:
            recording = Audio(waveform, vocoder.sample_rate)
            output = vocoder.resynthesize(recording, steps=self.steps, clip_seeds=[number])
            return Pair(recording, output, (vocoder.mel(recording), vocoder.mel(output)))

        save_pairs(trainer, self.folder, self.clips, render, "resynthesized", NotFinite)
        use = USE.format(spec=module.model.mel_spec)
        text = CardText("audio-to-audio", "A mel-conditioned diffusion vocoder", use)
        export(trainer, module, self.folder, text, self.history)
