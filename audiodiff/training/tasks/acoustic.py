"""Acoustic task: the diffusion loss on mels, and the losses of the encoder that it is conditioned by.

Five terms: the objective's loss; the absolute error of the encoder's mean, from which a text is intelligible long
before the diffusion has learned its texture; the likelihood of that error, which the scale is learned from; and the
errors of the predicted durations and pitch. The recording's own durations and pitch condition the mel, so that the
predictors are trained beside it and not through it.

Text and speaker are dropped together from some sentences, for classifier-free guidance (Ho and Salimans 2022, arXiv
2207.12598); each is also dropped by itself.
"""

import lightning
import torch
from torch import Tensor

from audiodiff.audio.mel.normalization import MelNormalization
from audiodiff.diffusion.clips import clip_mean
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.models.acoustic_model import AcousticModel, Prosody
from audiodiff.nn.condition import Condition
from audiodiff.ranges import NonNegativeFloat, Positive, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task, mean_loss


class AcousticTask(Task):
    """Trains an `AcousticModel`.

    Args:
        condition_dropout: probability that a sentence is denoised without text and speaker, and that each of them is
            dropped by itself.
        mean_weight: of the absolute error of the encoder's mean, and of the likelihood of the scale.
        prosody_weight: of the errors of durations and pitch.
        normalization_clips: number of training clips that the mel's normalization is measured on, if the model has
            none yet.
        floor: log-mel that lower values are raised to.
        timestep_sampling: distribution of noise levels; None: evenly spaced over a batch.
    """

    def __init__(
        self,
        condition_dropout: UnitInterval = 0.1,
        mean_weight: NonNegativeFloat = 1.0,
        prosody_weight: NonNegativeFloat = 0.3,
        normalization_clips: Positive = 128,
        floor: float = -10.0,
        timestep_sampling: Uniform | None = None,
    ):
        super().__init__((1.0, 1.0), timestep_sampling or LowDiscrepancy())
        self.condition_dropout, self.mean_weight, self.prosody_weight = condition_dropout, mean_weight, prosody_weight
        self.normalization_clips, self.floor = normalization_clips, floor

    def prepare(self, model: AcousticModel, data: lightning.LightningDataModule) -> None:
        """Check speakers and symbols of the data, and measure the normalization, on the same clips in a resumed run.

        Raises:
            UserError: the data has a speaker or a symbol that the model does not have.
        """
        data.check(model.speakers, model.symbols)
        if model.normalization is None:
            mels = (data.crops[draw]["mel"] for draw in range(self.normalization_clips))
            model.normalization = MelNormalization.from_mels(mels, self.floor)

    def loss(self, model: AcousticModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Add noise to the mels of sentences and estimate it, given the text."""
        mel, prosody = batch["mel"], Prosody(batch["durations"], batch["pitch"])
        symbols = model.encode_symbols(batch["tokens"], model.embed_speaker(batch))
        duration_loss, pitch_loss = model.prosody_losses(symbols, prosody)
        encoded = model.embed_text(symbols, prosody)
        target, samples = model.fold_mel(mel), encoded.condition.samples
        difference = (target - encoded.mean).abs()
        mean_error = clip_mean(difference, samples)
        scale_loss = clip_mean(gaussian_loss(difference.detach(), encoded.scale), samples)
        relative_t, weights = self.draw_timesteps(model, len(mel), random)
        noise = random.normal(*target.shape).to(target)
        rate = self.condition_dropout if model.training else 0.0
        condition = drop_text(encoded.condition, rate, random)
        t, weights = (relative_t * model.denoiser.t_max).to(target), weights.to(target)
        losses = model.denoiser.loss(model.from_mel(mel, encoded), noise, t, condition).loss
        others = self.mean_weight * (mean_error + scale_loss) + self.prosody_weight * (duration_loss + pitch_loss)
        loss = mean_loss(weights * losses, model.schedule) + others.mean()
        parts = {"mean": mean_error, "scale": scale_loss, "duration": duration_loss, "pitch": pitch_loss}
        parts = {name: part.detach().mean() for name, part in parts.items()}
        return {"loss": loss, "clip_loss": losses.detach(), "t": t, "relative_t": relative_t} | parts


def drop_text(condition: Condition, rate: float, random: BatchRandom) -> Condition:
    """The condition of sentences, without text, speaker or both for some of them: each with probability `rate`."""
    frames, embedding = condition.frames, condition.global_embedding
    assert frames is not None and embedding is not None
    both, text, speaker = (random.uniform(len(frames)).to(frames.device) < rate for _ in range(3))
    frames = torch.where((both | text)[:, None, None], 0.0, frames)
    embedding = torch.where((both | speaker)[:, None], 0.0, embedding)
    return Condition(frames, condition.samples, global_embedding=embedding)


def gaussian_loss(difference: Tensor, scale: Tensor) -> Tensor:
    """Negative log-likelihood of differences from the mean, up to a constant; least where the scale is their RMS."""
    return 0.5 * (difference / scale).square() + scale.log()
