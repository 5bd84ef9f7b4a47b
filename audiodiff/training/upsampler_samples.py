"""Held-out clips upsampled during training, and the export of the model at each validation."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.pipelines.upsampler import CUTOFFS, Upsampler
from audiodiff.ranges import NonNegative, Positive, PositiveFloat
from audiodiff.training.export import CardText, export
from audiodiff.training.sample_pair import Pair, save_pairs

USE = """    from audiodiff import Upsampler
    audio = Upsampler.from_pretrained("this/folder").upsample(recording)

Output: {rate} Hz. Trained on recordings of {lowest:g} to {highest:g} Hz."""


class UpsamplerSamples(Callback):
    """Upsamples band-limited held-out clips with the averaged weights at each validation, and exports the model.

    Args:
        folder: of the run. Audio and spectrograms are saved to `<folder>/samples/step_<n>/`.
        clips: number of clips.
        steps: sampling steps.
        cutoff: in Hz, above which the clips are cut off.
        history: minutes of training between two exports of the history, as of `export`.
    """

    def __init__(
        self,
        folder: str,
        clips: NonNegative = 3,
        steps: Positive = 2,
        cutoff: PositiveFloat = 4000.0,
        history: PositiveFloat | None = None,
    ):
        self.folder, self.clips, self.steps, self.cutoff, self.history = Path(folder), clips, steps, cutoff, history

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Generate and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        upsampler = Upsampler(module.model, module.device)
        analysis, device = module.model.analysis, trainer.strategy.root_device

        def render(waveform: Tensor, number: int) -> Pair:
            recording = Audio(waveform, upsampler.sample_rate)
            output = upsampler.upsample(recording, self.steps, clip_seeds=[number], cutoff=self.cutoff)
            original, result = (analysis(one.to(device)).cpu() for one in (waveform, output.samples))
            return Pair(recording, output, (original, result))

        save_pairs(trainer, self.folder, self.clips, render, "upsampled")
        rate = upsampler.sample_rate
        low, high = module.task.band_limit.bounds
        use = USE.format(rate=rate, lowest=2 * low, highest=2 * high)
        text, record = CardText("audio-to-audio", "A diffusion upsampler", use), {CUTOFFS: [low, high]}
        export(trainer, module, self.folder, text, self.history, record)
