"""Codec task: reconstruct audio from latents that stay bounded.

The loss has three terms: distances of magnitude spectra at several resolutions (Yamamoto et al. 2020), of which each
step draws one, since they cost more than a small network; the relative error of the waveform, which alone depends on
phase, for networks that model it; and the Kullback-Leibler divergence of the latents' distribution from a standard
normal one (Kingma and Welling 2014).
"""

import lightning
from torch import Tensor

from audiodiff.audio.spectral import RESOLUTIONS, multi_resolution_stft
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.task import Task, limit_losses

_INAUDIBLE_RMS = 1e-4  # errors are not divided by less


class CodecTask(Task):
    """Trains a `Codec`.

    Args:
        gain: as for `Task`.
        stft_weight: weight of the multi-resolution STFT distance.
        waveform_weight: weight of the relative error of the waveform, for networks that model phases.
        kl_weight: weight of the Kullback-Leibler divergence, in nats per latent.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        stft_weight: NonNegativeFloat = 1.0,
        waveform_weight: NonNegativeFloat = 1.0,
        kl_weight: NonNegativeFloat = 1e-3,
    ):
        super().__init__(gain)
        self.stft_weight, self.waveform_weight, self.kl_weight = stft_weight, waveform_weight, kl_weight

    def prepare(self, model: Codec, data: lightning.LightningDataModule) -> None:
        """Check the length of the crops.

        Raises:
            UserError: they are not whole latent frames.
        """
        stride = model.stride
        if data is not None and data.crop_samples % stride:
            samples = max(round(data.crop_samples / stride), 1) * stride
            problem = f"is not a multiple of {stride}, the samples of a latent frame"
            raise UserError(f"data.crop_samples {data.crop_samples}", problem, f"set data.crop_samples={samples}")

    def loss(self, model: Codec, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Encode, decode and compare a batch (B, C, T); T is a multiple of the stride."""
        waveform = batch["waveform"]
        waveform = waveform * self.draw_gain(model, len(waveform), random)[:, None, None].to(waveform)
        network = model.network
        mean, log_variance = network.posterior(model.split_channels(waveform))
        clips, channels, samples = waveform.shape
        noise = random.normal(clips, channels, *mean.shape[1:]).flatten(0, 1).to(mean)
        decoded = model.merge_channels(network.signal(mean + noise * (log_variance / 2).exp()))
        x, y = decoded.flatten(0, 1).float(), waveform.flatten(0, 1).float()
        resolution = random.choice(RESOLUTIONS)
        floor = _INAUDIBLE_RMS * random.normal(clips, channels, samples).flatten(0, 1).to(y)
        stft = limit_losses(multi_resolution_stft(x + floor, y + floor, [resolution])).mean()
        power = y.square().mean(-1).clamp(min=_INAUDIBLE_RMS**2)
        error = ((x - y).square().mean(-1) / power).clamp(max=4).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = self.stft_weight * stft + self.kl_weight * kl
        if network.phases:
            loss = loss + self.waveform_weight * error
        return {"loss": loss, "stft": stft.detach(), "waveform": error.detach(), "kl": kl.detach()}
