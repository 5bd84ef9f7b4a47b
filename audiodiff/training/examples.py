"""Training examples of the process, by model type: what a student and its teacher are compared on.

Students of all model types are trained on the same two things, a clean signal of the process and the condition of the
network. How a batch becomes them depends on the type alone, and `EXAMPLES` has it by type. A student keeps the parts
that embed conditions (`DistillationTask.trainable_parameters`), so both see one condition.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import lightning
from torch import Tensor

from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.conditioners.guidance import Guidance, guidance_condition
from audiodiff.diffusion.clips import clip_mean, column
from audiodiff.models.acoustic_model import AcousticModel, Prosody
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.condition import Condition
from audiodiff.training.band_limit import BandLimit
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.acoustic import drop_text
from audiodiff.training.tasks.denoising import check_data, unit_power
from audiodiff.training.tasks.task import fade_edges
from audiodiff.training.tasks.upsampling import check_cutoffs
from audiodiff.training.tasks.vocoder import check_crops


@dataclass(frozen=True)
class Example:
    """A batch of the process.

    Attributes:
        x0: (B, C, T) clean signals.
        condition: of the network.
        distance: (B,) between two signals of the process; `scale` normalizes it, by default the second one.
        guidance: (B,) guidance scales of the condition; None: the model has no such condition.
        unguided: the condition without its guidance scale, and `unconditional`, what guidance steers away from; None
            where the model has no such condition.
    """

    x0: Tensor
    condition: Condition
    distance: Callable[[Tensor, Tensor, Tensor], Tensor]
    guidance: Tensor | None = None
    unguided: Condition | None = None
    unconditional: Condition | None = None


class Options(Protocol):
    """What examples depend on besides the batch; a `DistillationTask` has it."""

    condition_dropout: float

    def draw_gain(self, model: Any, clips: int, random: BatchRandom) -> Tensor:
        """(clips,) gains."""


class Examples(ABC):
    """Makes the examples of one model type."""

    @abstractmethod
    def check(self, model: Any, data: lightning.LightningDataModule) -> None:
        """Check data and model against each other; raises UserError."""

    @abstractmethod
    def __call__(self, options: Options, model: Any, batch: dict, random: BatchRandom) -> Example:
        """The example of a batch."""


class AudioExamples(Examples):
    """Waveforms at unit power and a random gain, or latents, and the conditions, of which some are dropped."""

    def check(self, model: AudioModel, data: lightning.LightningDataModule) -> None:
        """Check channels and codec."""
        check_data(model, data)

    def __call__(self, options: Options, model: AudioModel, batch: dict, random: BatchRandom) -> Example:
        """The example of waveforms (B, C, T) or latents (B, Z, F)."""
        x0 = batch["latents"] if "latents" in batch else model.normalize(batch["waveform"])
        gain = options.draw_gain(model, len(x0), random)
        if model.codec is None:
            x0 = unit_power(x0) * column(gain, x0)
        raw = {name: value for name, value in batch.items() if name != "samples"}
        given = model.drop_conditions(raw, options.condition_dropout, random)

        def distance(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
            if model.codec is not None:
                return euclidean(x, y, scale)
            signals = (model.restore(z).flatten(0, 1).float() for z in (x, y, scale))
            x, y, scale = signals
            return multi_resolution_stft(x, y, scale=scale).unflatten(0, (len(x0), -1)).mean(1)

        guided = guidance_condition(model.conditioners)
        if guided is None:
            return Example(x0, model.embed_condition(given), distance)
        scale = guided.draw(len(x0), random).to(x0)
        null = {one.name: one.unrequested(given[one.name]) for one in model.conditioners if one.name in given}
        conditions = [given | {Guidance.name: scale[:, None]}, given, given | null]
        condition, unguided, unconditional = map(model.embed_condition, conditions)
        return Example(x0, condition, distance, scale, unguided, unconditional)


class VocoderExamples(Examples):
    """Crops of speech with faded edges and a random gain, whitened, and their mels."""

    def check(self, model: VocoderModel, data: lightning.LightningDataModule) -> None:
        """Check the length of the crops."""
        check_crops(model, data)

    def __call__(self, options: Options, model: VocoderModel, batch: dict, random: BatchRandom) -> Example:
        """The example of waveforms (B, T)."""
        waveform = fade_edges(batch["waveform"], model.mel_spec.hop_length)
        waveform = waveform * options.draw_gain(model, len(waveform), random)[:, None].to(waveform)
        mel = model.analysis(waveform)

        def distance(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
            x, y, scale = (model.restore(z[:, 0], mel).float() for z in (x, y, scale))
            return multi_resolution_stft(x, y, scale=scale)

        return Example(model.normalize(waveform, mel)[:, None], model.embed_mel(mel, waveform=waveform), distance)


class UpsamplerExamples(Examples):
    """Crops of speech that are band-limited at random: what they lack, whitened, and the band that they have.

    Args:
        band_limit: what band-limits the crops; None: `BandLimit()`.
    """

    def __init__(self, band_limit: BandLimit | None = None):
        self.band_limit = band_limit or BandLimit()

    def check(self, model: UpsamplerModel, data: lightning.LightningDataModule) -> None:
        """Check the length of the crops and the cutoffs."""
        check_crops(model, data)  # type: ignore[arg-type]
        check_cutoffs(model, self.band_limit)

    def __call__(self, options: Options, model: UpsamplerModel, batch: dict, random: BatchRandom) -> Example:
        """The example of waveforms (B, T)."""
        waveform = fade_edges(batch["waveform"], model.mel_spec.hop_length)
        waveform = waveform * options.draw_gain(model, len(waveform), random)[:, None].to(waveform)
        limited, cutoff = self.band_limit(waveform, model.sample_rate, random)
        band, missing = model.embed_band(limited, cutoff), waveform - limited

        def distance(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
            x, y, scale = (model.restore(z[:, 0].float(), band) for z in (x, y, scale))
            return multi_resolution_stft(x, y, scale=scale - limited)

        return Example(model.normalize(missing, band)[:, None], band.condition, distance)


class AcousticExamples(Examples):
    """Mels of sentences, and what their texts and speakers say of them."""

    def check(self, model: AcousticModel, data: lightning.LightningDataModule) -> None:
        """Check speakers and symbols."""
        data.check(model.speakers, model.symbols)

    def __call__(self, options: Options, model: AcousticModel, batch: dict, random: BatchRandom) -> Example:
        """The example of mels (B, M, F)."""
        symbols = model.encode_symbols(batch["tokens"], model.embed_speaker(batch))
        encoded = model.embed_text(symbols, Prosody(batch["durations"], batch["pitch"]))
        rate = options.condition_dropout if model.training else 0.0
        condition = drop_text(encoded.condition, rate, random)

        def distance(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
            return euclidean(x, y, scale, condition.samples)

        return Example(model.from_mel(batch["mel"], encoded), condition, distance)


EXAMPLES: dict[str, Examples | None] = {
    "vocoder": VocoderExamples(),
    "audio": AudioExamples(),
    "codec": None,
    "acoustic": AcousticExamples(),
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "hypernetwork": None,
    "upsampler": UpsamplerExamples(),
    "restorer": None,
}


def euclidean(x: Tensor, y: Tensor, scale: Tensor, samples: Tensor | None = None) -> Tensor:
    """(B,) Euclidean distance relative to the norm of `scale`, which makes an energy distance of it."""
    squares = clip_mean((x - y).square(), samples)
    # The root has no finite slope at 0.
    return (squares / clip_mean(scale.square(), samples).clamp(min=1e-8) + 1e-12).sqrt()


def examples_of(model: DiffusionModel) -> Examples | None:
    """Those of the model's type; None if models of it are not distilled."""
    return EXAMPLES[model.TYPE]
