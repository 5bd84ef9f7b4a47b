"""Held-out recordings through an autoencoder while it trains: heard, seen and measured, and the codec exported."""

from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.audio.spectral import multi_resolution_stft, si_sdr
from audiodiff.synthesis.codec import Codec
from audiodiff.training.export import Kind, export, in_use
from audiodiff.training.figure import keep, spectrogram_grid

USE = """    from audiodiff.synthesis.codec import Codec
    codec = Codec.from_pretrained("this/folder")
    again = codec.decode(codec.encode(waveform))

{codec.sample_rate} Hz, {codec.channels} channel(s), one latent number for {codec.compression:g} samples."""


class Reconstructed(Callback):
    """At each validation: code crops with the averaged weights, measure the latents, and export to `<folder>/model`.

    Logged are `coded/stft` (the multi-resolution STFT distance) and `coded/si_sdr` (dB), means over held-out crops.

    Args:
        folder: of the run. Audio and spectrograms go to `<folder>/samples/step_<n>/`.
        clips: how many are written.
        measured: training crops that the mean and deviation of the latents are measured on.
        data: what the codec was trained on, for its card.
    """

    def __init__(self, folder: str, clips: int = 4, measured: int = 64, data: str = ""):
        self.folder, self.clips, self.measured, self.data = Path(folder), clips, measured, data

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Code and export. Weight averaging must stand later in the list of callbacks: it has yet to swap back."""
        if trainer.sanity_checking:
            return
        codec, data = module.model, trainer.datamodule
        count = min(len(data.held_out.manifest), data.validation_clips)
        with in_use(codec), torch.inference_mode():
            standardise(codec, (data.crops[draw]["waveform"] for draw in range(self.measured)))
            real = torch.stack([data.held_out[draw]["waveform"] for draw in range(count)]).to(module.device)
            made = codec.decode(codec.encode(real), real.shape[-1])
        x, y = made.flatten(0, 1), real.flatten(0, 1)
        heard = y.square().mean(-1) > 1e-8
        module.log("coded/stft", multi_resolution_stft(x[heard], y[heard]).mean())
        module.log("coded/si_sdr", si_sdr(x[heard], y[heard]).mean())
        self._keep(trainer, real.cpu(), made.cpu(), codec.sample_rate)
        kind = Kind("audio-to-audio", "An autoencoder of audio", USE.format(codec=codec))
        export(trainer, module, self.folder, self.data, kind)

    def _keep(self, trainer: lightning.Trainer, real: Tensor, made: Tensor, sample_rate: int) -> None:
        folder = self.folder / "samples" / f"step_{trainer.global_step:09d}"
        for number in range(min(self.clips, len(real))):
            write(folder / f"{number:04d}.wav", Audio(made[number], sample_rate))
            write(folder / f"{number:04d}_original.wav", Audio(real[number], sample_rate))
        both = torch.cat([real[: self.clips], made[: self.clips]])
        title = f"step {trainer.global_step}: originals, and below what came back of them"
        keep(spectrogram_grid(both, sample_rate, title, columns=len(both) // 2), folder / "spectrograms.png")


def standardise(codec: Codec, crops) -> None:
    """Measure mean and deviation of every latent number over crops (C, T), and keep them in the codec."""
    device = codec.network.mean.device
    raw = torch.cat([codec.network.posterior(codec.rows(crop[None].to(device)))[0] for crop in crops])
    codec.network.mean.copy_(raw.mean((0, 2))[:, None])
    codec.network.deviation.copy_(raw.std((0, 2)).clamp(min=1e-3)[:, None])
