"""Held-out clips restored during training, and the export of the model at each validation."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.pipelines.restorer import LONGEST_GAP, Restorer
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.export import CardText, export
from audiodiff.training.sample_pair import Pair, save_pairs

USE = """    from audiodiff import Restorer
    audio = Restorer.from_pretrained("this/folder").restore(recording, declip=True, denoise=True)

Trained at {rate} Hz; recordings of any rate are taken."""


class RestorerSamples(Callback):
    """Removes random noise from held-out clips with the averaged weights at each validation, and exports the model.

    Args:
        folder: of the run. Audio and spectrograms are saved to `<folder>/samples/step_<n>/`.
        clips: number of clips.
        steps: sampling steps.
        history: minutes of training between two exports of the history, as of `export`.
    """

    def __init__(self, folder: str, clips: NonNegative = 3, steps: Positive = 1, history: PositiveFloat | None = None):
        self.folder, self.clips, self.steps, self.history = Path(folder), clips, steps, history

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Generate and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        restorer = Restorer(module.model, module.device)
        rate, degradation = restorer.sample_rate, module.task.degradation
        analysis, device = module.model.analysis, trainer.strategy.root_device

        def render(waveform: Tensor, number: int) -> Pair:
            noisy = degradation.add_noise(waveform[None], rate, BatchRandom(number))[0]
            output = restorer.restore(Audio(noisy, rate), self.steps, denoise=True, clip_seeds=[number])
            original, result = (analysis(one.to(device)).cpu() for one in (noisy, output.samples))
            return Pair(Audio(noisy, rate), output, (original, result))

        save_pairs(trainer, self.folder, self.clips, render, "restored")
        text = CardText("audio-to-audio", "A diffusion restorer", USE.format(rate=rate))
        export(trainer, module, self.folder, text, self.history, {LONGEST_GAP: degradation.gap[1]})
