"""Held-out recordings through an autoencoder while it trains: heard, seen and measured, and the codec exported."""

import math
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from audiodiff.audio.io import Audio, write
from audiodiff.audio.spectral import multi_resolution_stft, si_sdr
from audiodiff.models.codec import Codec
from audiodiff.precision import double
from audiodiff.ranges import NonNegative, Positive
from audiodiff.training.export import Kind, export
from audiodiff.training.figure import keep, spectrogram_grid

USE = """    from audiodiff.models.codec import Codec
    codec = Codec.from_pretrained("this/folder")
    again = codec.decode(codec.encode(waveform))

{codec.sample_rate} Hz, {codec.channels} channel(s), one latent number for {codec.compression:g} samples."""


class CodecSamples(Callback):
    """At each validation: code crops with the averaged weights, measure the latents, and export to `<folder>/model`.

    Logged are `coded/stft` (the multi-resolution STFT distance) and `coded/si_sdr` (dB), means over held-out crops, and
    `coded/predictable`, the share of the latents' variance that neighboring frames tell (`predictable`).

    Args:
        folder: of the run. Audio and spectrograms go to `<folder>/samples/step_<n>/`.
        clips: how many are written.
        statistics_crops: training crops that the mean and deviation of the latents are measured on.
        data: what the codec was trained on, for its card.
    """

    def __init__(self, folder: str, clips: NonNegative = 4, statistics_crops: Positive = 64, data: str = ""):
        self.folder, self.clips, self.statistics_crops, self.data = Path(folder), clips, statistics_crops, data

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Code and export. Weight averaging must stand later in the list of callbacks: it has yet to swap back."""
        if trainer.sanity_checking:
            return
        codec, data = module.model, trainer.datamodule
        with torch.inference_mode():
            crops = [data.crops[draw]["waveform"] for draw in range(self.statistics_crops)]
            latents = standardize(codec, crops)
            real = torch.stack([crop["waveform"] for crop in data.validation_crops()]).to(module.device)
            made = codec.decode(codec.encode(real), real.shape[-1])
        if not trainer.is_global_zero:
            return
        x, y = made.flatten(0, 1), real.flatten(0, 1)
        heard = y.square().mean(-1) > 1e-8
        if heard.any():
            module.log("coded/stft", multi_resolution_stft(x[heard], y[heard]).mean(), rank_zero_only=True)
            module.log("coded/si_sdr", si_sdr(x[heard], y[heard]).mean(), rank_zero_only=True)
        module.log("coded/predictable", predictable(latents), rank_zero_only=True)
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


def standardize(codec: Codec, crops: list[Tensor]) -> Tensor:
    """Measure mean and deviation of every latent number over crops (C, T), and keep them; the crops' latents, raw."""
    device = codec.network.mean.device
    raw = torch.cat([codec.network.posterior(codec.rows(crop[None].to(device)))[0] for crop in crops])
    codec.network.mean.copy_(raw.mean((0, 2))[:, None])
    codec.network.deviation.copy_(raw.std((0, 2)).clamp(min=1e-3)[:, None])
    return raw


def predictable(latents: Tensor) -> float:
    """How much of the variance of latents (B, Z, F) their neighbors tell, by the best linear map of two to each side.

    To a model that has to make them the rest is noise, of which nothing can be learned: latents that tell of phases
    give more of the waveform back, and are harder to make. The map is found on one half of the rows.
    """
    frames = double(latents).transpose(1, 2)
    frames = (frames - frames.mean((0, 1))) / frames.std((0, 1)).clamp(min=1e-12)
    half = len(frames) // 2
    if not half or frames.shape[1] < 5:
        return math.nan
    around = torch.cat([frames[:, :-4], frames[:, 1:-3], frames[:, 3:-1], frames[:, 4:]], dim=2)
    known, asked = (part.flatten(0, 1) for part in (around[:half], around[half:]))
    wanted, held_out = (part.flatten(0, 1) for part in (frames[:half, 2:-2], frames[half:, 2:-2]))
    ridge = 1e-3 * len(known) * torch.eye(known.shape[1]).to(known)
    answer = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted)
    return float((1 - (held_out - asked @ answer).square().mean(0) / held_out.var(0).clamp(min=1e-12)).mean())
