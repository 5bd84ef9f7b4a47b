"""Upsampling task: the denoising objective plus a spectral loss on the estimate of the full-band signal."""

import lightning
from torch import Tensor

from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.band_limit import BandLimit
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task, fade_edges, limit_losses, mean_loss
from audiodiff.training.tasks.vocoder import check_crops


class UpsamplingTask(Task):
    """Trains an `UpsamplerModel` to complete signals that are band-limited at random.

    Args:
        band_limit: what band-limits the crops; None: `BandLimit()`.
        gain: as for `Task`.
        stft_weight: weight of the multi-resolution STFT distance between estimate and clip, its spectral convergence
            relative to the missing band.
        envelope_weight: weight of the error of the predicted envelope.
        timestep_sampling: distribution of noise levels; None: evenly spaced over a batch.
    """

    def __init__(
        self,
        band_limit: BandLimit | None = None,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        stft_weight: NonNegativeFloat = 1.0,
        envelope_weight: NonNegativeFloat = 1.0,
        timestep_sampling: Uniform | None = None,
    ):
        super().__init__(gain, timestep_sampling or LowDiscrepancy())
        self.band_limit = band_limit or BandLimit()
        self.stft_weight, self.envelope_weight = stft_weight, envelope_weight

    def prepare(self, model: UpsamplerModel, data: lightning.LightningDataModule) -> None:
        """Check the length of the crops and the cutoffs."""
        check_crops(model, data)
        check_cutoffs(model, self.band_limit)

    def loss(self, model: UpsamplerModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Band-limit a batch (B, T), add noise to what is missing, estimate it and compare."""
        count = len(batch["waveform"])
        gain = self.draw_gain(model, count, random)[:, None]
        waveform = fade_edges(batch["waveform"], model.mel_spec.hop_length)
        waveform = waveform * gain.to(waveform)
        relative_t, weights = self.draw_timesteps(model, count, random)
        t, weights = (relative_t * model.denoiser.t_max).to(waveform), weights.to(waveform)
        noise = random.normal(count, 1, waveform.shape[-1]).to(waveform)
        limited, cutoff = self.band_limit(waveform, model.sample_rate, random)
        band, missing = model.embed_band(limited, cutoff), waveform - limited
        estimate = model.denoiser.loss(model.normalize(missing, band)[:, None], noise, t, band.condition)
        losses = limit_losses(estimate.loss)  # which has no bound until the envelope is learned
        if self.stft_weight:
            restored = model.restore(estimate.x0_hat[:, 0].float(), band)
            distance = multi_resolution_stft(restored, waveform, scale=missing)
            losses = losses + self.stft_weight * limit_losses(distance)
        envelope = model.envelope_loss(band, waveform).mean()
        loss = mean_loss(weights * losses, model.schedule) + self.envelope_weight * envelope
        return {
            "loss": loss,
            "envelope": envelope.detach(),
            "clip_loss": estimate.loss.detach(),
            "t": t,
            "relative_t": relative_t,
        }


def check_cutoffs(model: UpsamplerModel, band_limit: BandLimit) -> None:
    """Check that a model takes the cutoffs that it is trained with.

    Raises:
        UserError: one of them is out of range.
    """
    low, high = model.lowest_cutoff, model.sample_rate / 2
    for name in ("lowest", "highest", "common"):
        value = getattr(band_limit, name)
        if not low <= value < high:
            problem = f"is not between {low:g} and {high:g} Hz, of a model of {model.sample_rate} Hz"
            raise UserError(f"task.band_limit.{name} {value:g}", problem, f"set task.band_limit.{name}")
