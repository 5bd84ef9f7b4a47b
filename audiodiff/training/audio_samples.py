"""What a model of music makes while it trains: heard, seen and measured, and the model exported at each validation.

The loss says little about the sound: it falls for long while all is noise. How far the spectrum and the dynamics of
what is made are from those of the recordings shows from the first hundred steps on whether training works.
"""

from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.io import Audio, write
from audiodiff.audio.loudness import normalize_peak, normalize_rms, peak_dbfs, rms_dbfs
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.pipelines.audio_generator import AudioGenerator, clip_seeds
from audiodiff.ranges import Positive
from audiodiff.training.export import Kind, export
from audiodiff.training.figure import average_spectra, keep, spectrogram_grid

USE = """    from audiodiff import AudioGenerator
    audio = AudioGenerator.from_pretrained("this/folder").generate(seeds=[0, 1, 2])

{seconds:.2f} seconds at {model.sample_rate} Hz, {model.channels} channel(s). Labels: {labels}"""


class AudioSamples(Callback):
    """At each validation: generate clips with the averaged weights, then export the model to `<folder>/model`.

    Logged are `data/rms_dbfs` and `generated/rms_dbfs`, `data/crest` and `generated/crest` in dB, how far peaks rise
    above the average power: noise has about 12 dB, a drum 20 and more. Of the difference between what is made and the
    training crops: `generated/spectrum_db`, the mean distance between their average spectra, of which both are drawn;
    `generated/crest_db`; and `generated/level_db` (of a model whose crops are levelled, that says nothing).

    Args:
        folder: of the run. Clips, spectrograms and average spectra go to `<folder>/samples/step_<n>/`.
        clips: how many, of the same seeds every time.
        steps: network calls.
        data: what the model was trained on, for the model card.
    """

    def __init__(self, folder: str, clips: Positive = 16, steps: Positive = 20, data: str = ""):
        self.folder, self.clips, self.steps, self.data = Path(folder), clips, steps, data

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Generate and export. Weight averaging must stand later in the list of callbacks: it has yet to swap back."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        model = module.model
        generator = AudioGenerator(model, module.device)
        try:
            made = generator.generate(clip_seeds(0, self.clips), steps=self.steps, peak=None)
        except NotFinite as error:
            rank_zero_warn(f"step {trainer.global_step}: no clips are generated: {error.subject}: {error.problem}")
        else:
            self._measure(trainer, module, made)
            self._keep(trainer, made)
        seconds, labels = model.samples / model.sample_rate, ", ".join(model.labels) or "none"
        use = USE.format(model=model, seconds=seconds, labels=labels)
        kind = Kind("unconditional-audio-generation", "A diffusion model of sound", use)
        export(trainer, module, self.folder, self.data, kind)

    def _measure(self, trainer: lightning.Trainer, module, made: Audio) -> None:
        crops = trainer.datamodule.crops
        real = torch.stack([crops.crop(draw)[0] for draw in range(self.clips)])
        levels = [rms_dbfs(clips).clamp(min=-100).mean() for clips in (made.samples, real)]
        both = [normalize_rms(clips, -20) for clips in (made.samples, real)]
        spectra = [AverageSpectrum.from_signals(clips, made.sample_rate) for clips in both]
        distance = sum(abs(a - b) for a, b in zip(*(one.decibels for one in spectra), strict=True))
        crests = [float(peak_dbfs(clips).clamp(min=-60).mean()) + 20 for clips in both]
        for name, level, crest in zip(("generated", "data"), levels, crests, strict=True):
            module.log(f"{name}/rms_dbfs", level, rank_zero_only=True)
            module.log(f"{name}/crest", crest, rank_zero_only=True)
        module.log("generated/spectrum_db", distance / len(spectra[0].decibels), rank_zero_only=True)
        module.log("generated/crest_db", crests[0] - crests[1], rank_zero_only=True)
        module.log("generated/level_db", levels[0] - levels[1], rank_zero_only=True)
        figure = average_spectra(dict(zip(("generated", "data"), spectra, strict=True)), f"step {trainer.global_step}")
        keep(figure, self._folder(trainer) / "spectra.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_figure("spectra", figure, trainer.global_step)

    def _folder(self, trainer: lightning.Trainer) -> Path:
        return self.folder / "samples" / f"step_{trainer.global_step:09d}"

    def _keep(self, trainer: lightning.Trainer, made: Audio) -> None:
        folder, step = self._folder(trainer), trainer.global_step
        clips = normalize_peak(made.samples, 0.9)
        for number, clip in enumerate(clips):
            write(folder / f"{number:04d}.wav", Audio(clip, made.sample_rate))
        figure = spectrogram_grid(clips, made.sample_rate, f"step {step}")
        keep(figure, folder / "spectrograms.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            board = trainer.logger.experiment
            board.add_figure("generated", figure, step)
            for number, clip in enumerate(clips[:4]):
                board.add_audio(f"generated/{number}", clip.mean(0), step, made.sample_rate)
