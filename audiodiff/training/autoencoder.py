"""Training of a `Codec`: what comes back is to sound like what went in, and the latents are to stay bounded.

Three distances are taken: of magnitudes, which the ear follows, at several resolutions (Yamamoto et al. 2020), of which
each step draws one, since they cost more than a small network does; of the waveform itself, relative to its power,
which alone knows of phase and is left out where the network hears none; and of the latents' distribution from a
standard normal one, a Kullback-Leibler divergence (Kingma and Welling 2014).
"""

from torch import Tensor

from audiodiff.audio.spectral import RESOLUTIONS, multi_resolution_stft
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
from audiodiff.ranges import NonNegativeFloat
from audiodiff.training.module import Training, drawn_levels, limit_losses

_QUIET = 1e-4  # root mean square: what is below is not heard, and no error is divided by less


class AutoencoderTraining(Training):
    """Trains a `Codec`.

    Args:
        spectral: weight of the multi-resolution STFT distance.
        waveform: weight of the relative error of the waveform, where the network hears phases.
        divergence: weight of the divergence of a latent number, in nats.
        arguments: those of `Training`.
    """

    model: Codec

    def __init__(
        self,
        *arguments,
        spectral: NonNegativeFloat = 1.0,
        waveform: NonNegativeFloat = 1.0,
        divergence: NonNegativeFloat = 1e-3,
        **named,
    ):
        super().__init__(*arguments, **named)
        self.spectral, self.waveform, self.divergence = spectral, waveform, divergence

    def on_fit_start(self) -> None:
        """Check the crops.

        Raises:
            UserError: they are no whole latent frames.
        """
        data, stride = self.trainer.datamodule, self.model.stride
        if data is not None and data.crop_samples % stride:
            whole = max(round(data.crop_samples / stride), 1) * stride
            problem = f"is no multiple of {stride}, the samples of a latent frame"
            raise UserError(f"data.crop_samples {data.crop_samples}", problem, f"set data.crop_samples={whole}")

    def step(self, batch: dict, key: str, gain: tuple[float, float]) -> dict[str, Tensor]:
        """Encode, decode and compare a batch (B, C, T); T is a multiple of the stride."""
        random = self.random(key)
        waveform = batch["waveform"]
        waveform = waveform * drawn_levels(gain, len(waveform), random)[:, None, None].to(waveform)
        network = self.model.network
        mean, log_variance = network.posterior(self.model.rows(waveform))
        clips, channels, samples = waveform.shape
        noise = random.normal(clips, channels, *mean.shape[1:]).flatten(0, 1).to(mean)
        made = self.model.waveform(network.signal(mean + noise * (log_variance / 2).exp()))
        x, y = made.flatten(0, 1).float(), waveform.flatten(0, 1).float()
        resolution = random.choice(RESOLUTIONS)
        floor = _QUIET * random.normal(clips, channels, samples).flatten(0, 1).to(y)
        spectral = limit_losses(multi_resolution_stft(x + floor, y + floor, [resolution])).mean()
        power = y.square().mean(-1).clamp(min=_QUIET**2)
        error = ((x - y).square().mean(-1) / power).clamp(max=4).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = self.spectral * spectral + self.divergence * divergence
        if network.phases:
            loss = loss + self.waveform * error
        return {"loss": loss, "spectral": spectral.detach(), "error": error.detach(), "divergence": divergence.detach()}

    def took(self, outputs: dict[str, Tensor]) -> None:
        """Log the parts of the loss."""
        for name in ("spectral", "error", "divergence"):
            self.log(f"loss/{name}", outputs[name])
