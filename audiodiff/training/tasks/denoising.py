"""Denoising task of audio generators: the objective's loss on whole crops, with condition dropout.

Waveforms are normalized in the domain of the process: the listener sets the loudness of a clip. Otherwise a low drum,
with its power in one narrow band, would weigh fifty times as much as others and dominate the loss. Latents are left as
they are, because their size is no level: a codec decodes scaled latents as another sound.

A network that is given the condition of most crops and none of the others learns both distributions: guidance needs
their difference (Ho and Salimans 2022, arXiv 2207.12598). Each part of the condition is also dropped by itself, so that
any subset may be given.
"""

import lightning
import torch
from torch import Tensor

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.loudness import normalize_rms
from audiodiff.diffusion.clips import clip_mean, column
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.condition import Condition
from audiodiff.ranges import NonNegativeFloat, Positive, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task, mean_loss

SILENCE_RMS = 1e-4  # quieter crops are not amplified


class DenoisingTask(Task):
    """Trains an `AudioModel`.

    Args:
        gain: as for `Task`, of waveforms.
        normalize_rms: whether every waveform is normalized to unit power before its gain is applied.
        mask_padding: whether the padding behind a short clip is masked and left out of the loss: the model learns clips
            of any length instead of clips followed by silence.
        condition_dropout: probability that a crop is trained without any condition, and that each part of its condition
            is dropped by itself.
        spectrum_crops: number of crops that the average spectrum is measured on, if the model has none yet.
        timestep_sampling: distribution of noise levels; None: evenly spaced over a batch.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        normalize_rms: bool = True,
        mask_padding: bool = False,
        condition_dropout: UnitInterval = 0.1,
        spectrum_crops: Positive = 256,
        timestep_sampling: Uniform | None = None,
    ):
        super().__init__(gain, timestep_sampling or LowDiscrepancy())
        self.normalize_rms, self.mask_padding = normalize_rms, mask_padding
        self.condition_dropout, self.spectrum_crops = condition_dropout, spectrum_crops

    def prepare(self, model: AudioModel, data: lightning.LightningDataModule) -> None:
        """Measure the average spectrum, on the same crops in a new and in a resumed run.

        Raises:
            UserError: the data has another number of channels than the model, or another codec, which the weights that
                the run starts from may have brought along.
        """
        check_data(model, data)
        if model.spectrum is None and model.codec is None:
            crops = (data.crops[draw] for draw in range(self.spectrum_crops))
            valid = (crop["waveform"][None, :, : crop["samples"] if self.mask_padding else None] for crop in crops)
            model.spectrum = AverageSpectrum.from_signals(map(self.normalize, valid), model.sample_rate)

    def loss(self, model: AudioModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Add noise to a batch of waveforms (B, C, T) or latents (B, Z, F) and estimate it."""
        clean = batch["latents"] if "latents" in batch else model.normalize(batch["waveform"])
        gain = self.draw_gain(model, len(clean), random)
        relative_t, weights = self.draw_timesteps(model, len(clean), random)
        noise = random.normal(*clean.shape).to(clean)
        condition = self._condition(model, batch, random)
        x0 = clean if model.codec is not None else self.normalize(clean, condition.samples) * column(gain, clean)
        t, weights = (relative_t * model.denoiser.t_max).to(clean), weights.to(clean)
        losses = model.denoiser.loss(x0, noise, t, condition).loss
        loss = mean_loss(weights * losses, model.schedule)
        return {"loss": loss, "clip_loss": losses.detach(), "t": t, "relative_t": relative_t}

    def normalize(self, signal: Tensor, samples: Tensor | None = None) -> Tensor:
        """Normalize crops (B, C, T) to unit power over the first `samples` (B,), if `normalize_rms`."""
        return unit_power(signal, samples) if self.normalize_rms else signal

    def _condition(self, model: AudioModel, batch: dict, random: BatchRandom) -> Condition:
        given = {name: value for name, value in batch.items() if name != "samples" or self.mask_padding}
        return model.embed_condition(model.drop_conditions(given, self.condition_dropout, random))


def unit_power(signal: Tensor, samples: Tensor | None = None) -> Tensor:
    """Crops (B, C, T) at unit power over the first `samples` (B,), None for all; silent ones as they are."""
    rms = column(clip_mean(signal.square(), samples), signal).sqrt()
    return normalize_rms(signal, rms=rms, silence=SILENCE_RMS)


def check_data(model: AudioModel, data: lightning.LightningDataModule) -> None:
    """Check that channels and codec of model and data are the same, and both are of waveforms or of latents.

    Raises:
        UserError: they differ.
    """
    if model.codec is not None and getattr(data, "autoencoder", None) is None:
        fix = "set data=latents data.codec=MODEL, the codec that it was trained with"
        raise UserError("the data", "is of waveforms, the model of latents", fix)
    if model.channels != data.channels:
        problem = f"has {model.channels} channel(s), the data has {data.channels}"
        channels = model.network.frontend.channels * data.channels // model.channels
        raise UserError("the model", problem, f"set network.frontend.channels={channels}")
    if model.codec is not None:
        own, other = model.codec.network.state_dict(), data.autoencoder.state_dict()
        if own.keys() != other.keys() or any(not torch.equal(own[name].cpu(), other[name].cpu()) for name in own):
            problem = "is another codec than that of the model"
            raise UserError(f"data.codec {data.codec}", problem, "set data.codec to the one that it was trained with")
