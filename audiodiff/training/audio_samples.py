"""Clips generated during training, their statistics, and the export of the model at each validation.

The loss says little about the sound: it falls for long while the output is still noise. The distance of the generated
clips' spectrum and dynamics from those of the recordings shows from the first hundred steps on whether training works.
"""

import json
import warnings
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
from audiodiff.files import write_text
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.ranges import Positive, PositiveFloat
from audiodiff.text.prompt import is_plain
from audiodiff.training.export import CardText, export
from audiodiff.training.figure import average_spectra, save_figure, spectrogram_grid

USE = """    from audiodiff import AudioGenerator
    audio = AudioGenerator.from_pretrained("this/folder").generate({arguments})

{seconds:.2f} seconds at {model.sample_rate} Hz, {model.channels} channel(s). Labels: {labels}"""


class AudioSamples(Callback):
    """Generates clips with the averaged weights at each validation, and exports the model to `<folder>/model`.

    A model that takes prompts gets the captions of held-out recordings, one after the other.

    Logs `data/rms_dbfs` and `generated/rms_dbfs`; `data/crest` and `generated/crest`, the ratio of peak to RMS level in
    dB (noise has about 12 dB, a drum 20 and more); and differences between generated clips and training crops:
    `generated/spectrum_db`, the mean distance of their average spectra, which are plotted; `generated/crest_db`; and
    `generated/level_db` (meaningless for a model trained on normalized crops).

    Args:
        folder: of the run. Clips, their prompts, spectrograms and average spectra are saved to
            `<folder>/samples/step_<n>/`.
        clips: number of clips, with the same seeds every time.
        steps: sampling steps.
        history: minutes of training between two exports of the history, as of `export`; one of them may be the worse
            model of autoguidance.
    """

    def __init__(self, folder: str, clips: Positive = 16, steps: Positive = 20, history: PositiveFloat | None = None):
        self.folder, self.clips, self.steps, self.history = Path(folder), clips, steps, history

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Generate and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        model = module.model
        generator = AudioGenerator(model, module.device)
        prompts = self._prompts(trainer, model)
        try:
            generated = self._generate(generator, prompts)
        except NotFinite as error:
            rank_zero_warn(f"step {trainer.global_step}: no clips are generated: {error.subject}: {error.problem}")
        else:
            self._measure(trainer, module, generated)
            self._save(trainer, generated, prompts)
        seconds, labels = model.samples / model.sample_rate, ", ".join(model.labels) or "none"
        example = json.dumps(prompts[0] if prompts else "a sound", ensure_ascii=False)  # a literal of Python as well
        arguments = f"prompt={example}, guidance_scale=3" if model.takes_prompts else "count=3"
        use = USE.format(model=model, seconds=seconds, labels=labels, arguments=arguments)
        text = CardText("text-to-audio", "A diffusion model of sound", use)
        export(trainer, module, self.folder, text, self.history)

    def _prompts(self, trainer: lightning.Trainer, model: AudioModel) -> list[str]:
        """A prompt for each clip, the captions of held-out recordings in turn; none if the model takes none.

        Captions with marks of the language of prompts, such as "drum loop: 120", are left out.
        """
        if not model.takes_prompts:
            return []
        held_out = trainer.datamodule.held_out.manifest.clips
        captions = list(dict.fromkeys(clip.caption for clip in held_out if is_plain(clip.caption)))
        chosen = captions[:: max(len(captions) // self.clips, 1)]
        return [chosen[number % len(chosen)] for number in range(self.clips)] if chosen else []

    def _generate(self, generator: AudioGenerator, prompts: list[str]) -> Audio:
        options = {"steps": self.steps, "peak_level": None}
        if not prompts:
            return generator.generate(count=self.clips, **options)
        with warnings.catch_warnings(action="ignore"):  # of words that only held-out captions have
            clips = [
                generator.generate(prompt=prompt, clip_seeds=[seed], **options).samples
                for prompt, seed in zip(prompts, clip_seeds(0, self.clips), strict=True)
            ]
        return Audio(torch.cat(clips), generator.sample_rate)

    def _measure(self, trainer: lightning.Trainer, module, generated: Audio) -> None:
        crops = trainer.datamodule.crops
        real = torch.stack([crops.crop(draw)[0] for draw in range(self.clips)])
        levels = [rms_dbfs(clips).clamp(min=-100).mean() for clips in (generated.samples, real)]
        both = [normalize_rms(clips, -20) for clips in (generated.samples, real)]
        spectra = [AverageSpectrum.from_signals(clips, generated.sample_rate) for clips in both]
        distance = sum(abs(a - b) for a, b in zip(*(one.decibels for one in spectra), strict=True))
        crests = [float(peak_dbfs(clips).clamp(min=-60).mean()) + 20 for clips in both]
        for name, level, crest in zip(("generated", "data"), levels, crests, strict=True):
            module.log(f"{name}/rms_dbfs", level, rank_zero_only=True)
            module.log(f"{name}/crest", crest, rank_zero_only=True)
        module.log("generated/spectrum_db", distance / len(spectra[0].decibels), rank_zero_only=True)
        module.log("generated/crest_db", crests[0] - crests[1], rank_zero_only=True)
        module.log("generated/level_db", levels[0] - levels[1], rank_zero_only=True)
        figure = average_spectra(dict(zip(("generated", "data"), spectra, strict=True)), f"step {trainer.global_step}")
        save_figure(figure, self._folder(trainer) / "spectra.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_figure("spectra", figure, trainer.global_step)

    def _folder(self, trainer: lightning.Trainer) -> Path:
        return self.folder / "samples" / f"step_{trainer.global_step:09d}"

    def _save(self, trainer: lightning.Trainer, generated: Audio, prompts: list[str]) -> None:
        folder, step = self._folder(trainer), trainer.global_step
        clips = normalize_peak(generated.samples, 0.9)
        for number, clip in enumerate(clips):
            write(folder / f"{number:04d}.wav", Audio(clip, generated.sample_rate))
        if prompts:
            lines = (f"{number:04d} {prompt}\n" for number, prompt in enumerate(prompts))
            write_text(folder / "prompts.txt", "".join(lines))
        figure = spectrogram_grid(clips, generated.sample_rate, f"step {step}")
        save_figure(figure, folder / "spectrograms.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            board = trainer.logger.experiment
            board.add_figure("generated", figure, step)
            for number, clip in enumerate(clips[:4]):
                board.add_audio(f"generated/{number}", clip.mean(0), step, generated.sample_rate)
