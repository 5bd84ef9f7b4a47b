"""Held-out sentences synthesized during training, and the export of the model at each validation."""

from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from audiodiff.files import short_name
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.pipelines.speech_synthesizer import sample_mel
from audiodiff.ranges import NonNegative, Positive
from audiodiff.training.export import CardText, export
from audiodiff.training.figure import save_figure, spectrogram_pair

USE = """    import audiodiff
    audiodiff.load("this/folder").say("The file is ready.").audio

Speakers: {speakers}. Vocoder: {vocoder}. Mel spec: {spec}"""


class AcousticSamples(Callback):
    """Samples the mels of held-out sentences with the averaged weights at each validation, and exports the model.

    Args:
        folder: of the run. Figures are saved to `<folder>/samples/step_<n>/`.
        clips: number of sentences.
        steps: sampling steps.
    """

    def __init__(self, folder: str, clips: NonNegative = 3, steps: Positive = 6):
        self.folder, self.clips, self.steps = Path(folder), clips, steps

    def on_validation_epoch_end(self, trainer, module) -> None:
        """Sample and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        sentences = trainer.datamodule.held_out
        chosen = trainer.datamodule.validation_numbers()
        for number in chosen[:: max(len(chosen) // max(self.clips, 1), 1)][: self.clips]:  # of several speakers
            clip, item = sentences.manifest.clips[number], sentences[number]
            with torch.inference_mode():
                mel = self._sample(module.model, clip.phonemes, clip.speaker, number)
            stem = self.folder / "samples" / f"step_{trainer.global_step:09d}" / short_name(clip.id.replace("/", "_"))
            save_figure(spectrogram_pair(item["mel"], mel, clip.text or clip.id), stem.with_name(f"{stem.name}.png"))
        model = module.model
        use = USE.format(speakers=", ".join(model.speakers), vocoder=model.vocoder, spec=model.mel_spec)
        export(trainer, module, self.folder, CardText("text-to-speech", "A voice for text to speech", use))

    def _sample(self, model: AcousticModel, phonemes: str, speaker: str, seed: int) -> torch.Tensor:
        """The mel (M, F) of a sentence, with predicted prosody."""
        symbols = model.encode_symbols(model.tokens([phonemes]), model.speaker_embedding([speaker]))
        encoded = model.embed_text(symbols, model.predict_prosody(symbols))
        return sample_mel(model, encoded, model.sampler_for(self.steps), seed).cpu()
