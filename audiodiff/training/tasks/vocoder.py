"""Vocoder task: the denoising objective plus spectral losses on the estimate of the clean waveform."""

from collections.abc import Callable, Sequence

import lightning
from torch import Tensor

from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.diffusion.timestep_sampling import LowDiscrepancy, Uniform
from audiodiff.errors import UserError
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task, fade_edges, limit_losses, mean_loss


class VocoderTask(Task):
    """Trains a `VocoderModel` with its objective plus losses on the estimate of the clean waveform.

    Args:
        gain: as for `Task`.
        stft_weight: weight of the multi-resolution STFT distance between estimate and clip, the same at all noise
            levels. At high noise it pulls the estimate from the mean of all signals with this mel, which sounds like
            none of them, towards one of them, which samplers with few steps need.
        extra_losses: further losses, weights included: each maps (estimated waveform (B, T), waveform (B, T),
            log_snr (B,)) to (B,).
        timestep_sampling: distribution of noise levels; None: evenly spaced over a batch.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        stft_weight: NonNegativeFloat = 0.5,
        extra_losses: Sequence[Callable[[Tensor, Tensor, Tensor], Tensor]] = (),
        timestep_sampling: Uniform | None = None,
    ):
        super().__init__(gain, timestep_sampling or LowDiscrepancy())
        self.stft_weight, self.extra_losses = stft_weight, tuple(extra_losses)

    def prepare(self, model: VocoderModel, data: lightning.LightningDataModule) -> None:
        """Check the length of the crops."""
        check_crops(model, data)

    def loss(self, model: VocoderModel, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Add noise to a batch (B, T), estimate the clean waveforms and compare."""
        waveform = batch["waveform"]
        count, samples = waveform.shape
        gain = self.draw_gain(model, count, random)[:, None]
        waveform = fade_edges(waveform, model.mel_spec.hop_length)
        relative_t, weights = self.draw_timesteps(model, count, random)
        noise = random.normal(count, 1, samples)
        waveform = waveform * gain.to(waveform)
        t, weights = (relative_t * model.denoiser.t_max).to(waveform), weights.to(waveform)
        estimate = model.estimate(waveform, noise.to(waveform), t)
        losses, estimated = estimate.loss, estimate.waveform.float()
        if self.stft_weight:
            losses = losses + self.stft_weight * limit_losses(multi_resolution_stft(estimated, waveform))
        for extra_loss in self.extra_losses:
            losses = losses + extra_loss(estimated, waveform, estimate.log_snr)
        loss = mean_loss(weights * losses, model.schedule) + estimate.conditioner_loss.mean()
        return {"loss": loss, "clip_loss": estimate.loss.detach(), "t": t, "relative_t": relative_t}


def check_crops(model: VocoderModel, data: lightning.LightningDataModule | None) -> None:
    """Check that crops hold a mel frame.

    Raises:
        UserError: they are shorter.
    """
    hop = model.mel_spec.hop_length
    if data is not None and data.crop_samples < hop:
        problem = f"is shorter than a mel frame ({hop} samples)"
        raise UserError(f"data.crop_samples {data.crop_samples}", problem, "set data.crop_samples=16384")
