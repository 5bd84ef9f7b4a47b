"""Training of an `AudioModel`: the objective's loss on whole crops, and the label left out now and then.

Crops are brought to one power where the process runs: how loud a clip is, the listener sets. Left as they are, a low
drum whose power lies in one narrow band would weigh fifty times as much as others, and be all that the loss shows.

A network that is told of most crops what they are and of some nothing learns both distributions: guidance needs the
difference of the two (Ho and Salimans 2022, arXiv 2207.12598). What else is told of a crop is left out now and then by
itself, so that any of it may be asked for.
"""

import math

import torch
from torch import Tensor

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.loudness import normalize_rms
from audiodiff.diffusion.clips import clip_mean, column
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.condition import Condition
from audiodiff.ranges import Positive, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.datamodule import AudioData
from audiodiff.training.module import DiffusionTraining, drawn_levels, mean_loss

_QUIET = 1e-4  # root mean square: what is below is not raised


class MusicTraining(DiffusionTraining):
    """Trains an `AudioModel`.

    Args:
        unlabelled: share of crops of which no label and no number is told; of others each is left out as often.
        levelled: whether every crop is brought to unit power before its gain is drawn.
        masked: whether what lies beyond a short clip's end is hidden from the network and does not count: it learns
            clips of any length, and no silence after them.
        measured: crops that the average spectrum is measured on, if the model has none yet.
        arguments: those of `DiffusionTraining`.
    """

    model: AudioModel

    def __init__(
        self,
        *arguments,
        unlabelled: UnitInterval = 0.1,
        levelled: bool = True,
        masked: bool = False,
        measured: Positive = 256,
        **named,
    ):
        super().__init__(*arguments, **named)
        self.unlabelled, self.levelled, self.masked, self.measured = unlabelled, levelled, masked, measured

    def on_fit_start(self) -> None:
        """Measure the average spectrum, on the same crops whenever the run is begun or gone on with.

        Raises:
            UserError: a model of another number of channels than the data, or of another codec, which weights that the
                run begins with may have brought along.
        """
        self._check(self.trainer.datamodule)
        if self.model.spectrum is None and self.model.codec is None:
            crops = self.trainer.datamodule.crops
            some = (self._whole(crops[draw]) for draw in range(self.measured))
            self.model.spectrum = AverageSpectrum.from_signals(map(self.level, some), self.model.sample_rate)

    def _whole(self, crop: dict) -> Tensor:
        """What counts of a crop, (1, C, T)."""
        return crop["waveform"][None, :, : crop["samples"] if self.masked else None]

    def _check(self, data: AudioData) -> None:
        model = self.model
        if model.channels != data.channels:
            problem = f"makes {model.channels} channel(s), the data has {data.channels}"
            whole = model.network.frontend.channels * data.channels // model.channels
            raise UserError("the model", problem, f"set network.frontend.channels={whole}")
        if model.codec is not None:
            own, theirs = model.codec.network.state_dict(), data.autoencoder.state_dict()
            if own.keys() != theirs.keys() or any(not torch.equal(own[name].cpu(), theirs[name].cpu()) for name in own):
                problem = "is another codec than that of the weights that the run begins with"
                raise UserError(f"data.codec {data.codec}", problem, "name the one that they were trained with")

    def step(self, batch: dict, key: str, gain: tuple[float, float], times: Uniform | None = None) -> dict[str, Tensor]:
        """Noise and estimate a batch of waveforms (B, C, T) or latents (B, Z, F)."""
        random = self.random(key)
        clean = batch["latents"] if "latents" in batch else self.model.normalize(batch["waveform"])
        levels = drawn_levels(gain, len(clean), random)[:, None, None]
        drawn, weights = random.times(times or LowDiscrepancy(), len(clean))
        noise = random.normal(*clean.shape).to(clean)
        condition = self._condition(batch, len(clean), random)
        x0 = self.level(clean, condition.samples) * levels.to(clean)
        t, weights = (drawn * self.model.denoiser.t_max).to(clean), weights.to(clean)
        losses = self.model.denoiser.loss(x0, noise, t, condition).loss
        return {
            "loss": mean_loss(weights * losses, self.model.schedule),
            "clip_loss": losses.detach(),
            "t": t,
            "drawn": drawn,
        }

    def level(self, signal: Tensor, samples: Tensor | None = None) -> Tensor:
        """Crops (B, C, T) at unit power, if crops are levelled; only the first `samples` (B,) count, if given."""
        if not self.levelled:
            return signal
        rms = column(clip_mean(signal.square(), samples), signal).sqrt()
        return normalize_rms(signal, rms=rms, silence=_QUIET)

    def _condition(self, batch: dict, clips: int, random: BatchRandom) -> Condition:
        told = {}
        nothing = random.uniform(clips, 1) < self.unlabelled
        for name, missing in (("labels", 0.0), ("numbers", math.nan)):
            if getattr(self.model, name):
                value = batch[name]
                dropped = nothing | (random.uniform(*value.shape) < self.unlabelled)
                told[name] = value.masked_fill(dropped.to(value.device), missing)
        if self.masked:
            told["samples"] = -(-batch["samples"] // self.model.stride)
        return Condition(**told)
