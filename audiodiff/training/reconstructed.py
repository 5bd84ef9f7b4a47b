"""Held-out recordings through an autoencoder while it trains: heard, seen and measured, and the codec exported."""

from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.audio.spectral import multi_resolution_stft, si_sdr
from audiodiff.files import atomic
from audiodiff.synthesis.codec import Codec
from audiodiff.training.export import export, in_use
from audiodiff.training.generated import spectrogram_grid

CARD = """---
library_name: audiodiff
pipeline_tag: audio-to-audio
---
# An autoencoder of audio

Trained with audiodiff {version} for {steps} optimiser steps on {data}: {audio_hours:.2f} hours of audio seen in
{minutes:.1f} minutes of wall time on {hardware}.

    from audiodiff.synthesis.codec import Codec
    codec = Codec.from_pretrained("this/folder")
    again = codec.decode(codec.encode(waveform))

{sample_rate} Hz, {channels} channel(s), one latent number for {compression:g} samples.

Data licences: {licences}
"""


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
        fields = {name: getattr(codec, name) for name in ("sample_rate", "channels", "compression")}
        export(trainer, module, self.folder, self.data, CARD, **fields)

    def _keep(self, trainer: lightning.Trainer, real: Tensor, made: Tensor, sample_rate: int) -> None:
        folder = self.folder / "samples" / f"step_{trainer.global_step:09d}"
        for number in range(min(self.clips, len(real))):
            write(folder / f"{number:04d}.wav", Audio(made[number], sample_rate))
            write(folder / f"{number:04d}_original.wav", Audio(real[number], sample_rate))
        both = torch.cat([real[: self.clips], made[: self.clips]])
        figure = spectrogram_grid(both, sample_rate, f"step {trainer.global_step}: originals, then what came back")
        with atomic(folder / "spectrograms.png") as temporary:
            figure.savefig(temporary, dpi=90)


def standardise(codec: Codec, crops) -> None:
    """Measure mean and deviation of every latent number over crops (C, T), and keep them in the codec."""
    device = codec.network.mean.device
    raw = torch.cat([codec.network.posterior(codec.rows(crop[None].to(device)))[0] for crop in crops])
    codec.network.mean.copy_(raw.mean((0, 2))[:, None])
    codec.network.deviation.copy_(raw.std((0, 2)).clamp(min=1e-3)[:, None])
