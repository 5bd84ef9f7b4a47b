"""Held-out clips restored during training, and the export of the model at each validation."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.pipelines.restorer import LONGEST_GAP, Restorer
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.export import CardText, export
from audiodiff.training.sample_pair import save_pair

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
        for i in range(min(self.clips, len(trainer.datamodule.held_out))):
            item = trainer.datamodule.held_out[i]
            try:
                self._render(trainer, restorer, module.task.degradation, item, i)
            except UserError as error:  # such as a silent clip, or one that is too short
                rank_zero_warn(f"step {trainer.global_step}: {item['clip']} is not restored: {error.problem}")
        text = CardText("audio-to-audio", "A diffusion restorer", USE.format(rate=restorer.sample_rate))
        export(trainer, module, self.folder, text, self.history, {LONGEST_GAP: module.task.degradation.gap[1]})

    def _render(self, trainer: lightning.Trainer, restorer: Restorer, degradation, item: dict, index: int) -> None:
        waveform: Tensor = item["waveform"]
        noisy = degradation.add_noise(waveform[None], restorer.sample_rate, BatchRandom(index))[0]
        output = restorer.restore(Audio(noisy, restorer.sample_rate), self.steps, denoise=True, clip_seeds=[index])
        analysis, device = restorer.model.analysis, trainer.strategy.root_device
        mels = [analysis(one.to(device)).cpu() for one in (noisy, output.samples)]
        save_pair(trainer, self.folder, item["clip"], Audio(noisy, restorer.sample_rate), output, (mels[0], mels[1]))
