"""Held-out recordings coded during training, statistics of the latents, and the export of the codec."""

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
from audiodiff.training.export import CardText, export
from audiodiff.training.figure import save_figure, spectrogram_grid

USE = """    from audiodiff.models.codec import Codec
    codec = Codec.from_pretrained("this/folder")
    again = codec.decode(codec.encode(waveform))

{codec.sample_rate} Hz, {codec.channels} channel(s), one latent number for {codec.compression:g} samples."""


class CodecSamples(Callback):
    """Codes crops with the averaged weights at each validation, measures their latents, and exports the codec.

    Logs means over held-out crops of `coded/stft` (multi-resolution STFT distance) and `coded/si_sdr` (dB), and
    `coded/predictable`, the share of the latents' variance that neighboring frames predict (`predictability`).

    Args:
        folder: of the run. Audio and spectrograms are saved to `<folder>/samples/step_<n>/`.
        clips: number of crops whose reconstruction is saved.
        statistics_crops: number of training crops to measure mean and standard deviation of the latents on.
    """

    def __init__(self, folder: str, clips: NonNegative = 4, statistics_crops: Positive = 64):
        self.folder, self.clips, self.statistics_crops = Path(folder), clips, statistics_crops

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Generate and export, before weight averaging, which comes later in the list, restores the trained weights."""
        if trainer.sanity_checking:
            return
        codec, data = module.model, trainer.datamodule
        with torch.inference_mode():
            crops = [data.crops[draw]["waveform"] for draw in range(self.statistics_crops)]
            latents = measure_latents(codec, crops)
            real = torch.stack([crop["waveform"] for crop in data.validation_crops()]).to(module.device)
            decoded = codec.decode(codec.encode(real), real.shape[-1])
        if not trainer.is_global_zero:
            return
        x, y = decoded.flatten(0, 1), real.flatten(0, 1)
        audible = y.square().mean(-1) > 1e-8
        if audible.any():
            module.log("coded/stft", multi_resolution_stft(x[audible], y[audible]).mean(), rank_zero_only=True)
            module.log("coded/si_sdr", si_sdr(x[audible], y[audible]).mean(), rank_zero_only=True)
        module.log("coded/predictable", predictability(latents), rank_zero_only=True)
        self._save(trainer, real.cpu(), decoded.cpu(), codec.sample_rate)
        text = CardText("audio-to-audio", "An autoencoder of audio", USE.format(codec=codec))
        export(trainer, module, self.folder, text)

    def _save(self, trainer: lightning.Trainer, real: Tensor, decoded: Tensor, sample_rate: int) -> None:
        folder = self.folder / "samples" / f"step_{trainer.global_step:09d}"
        for number in range(min(self.clips, len(real))):
            write(folder / f"{number:04d}.wav", Audio(decoded[number], sample_rate))
            write(folder / f"{number:04d}_original.wav", Audio(real[number], sample_rate))
        both = torch.cat([real[: self.clips], decoded[: self.clips]])
        title = f"step {trainer.global_step}: originals above, reconstructions below"
        save_figure(spectrogram_grid(both, sample_rate, title, columns=len(both) // 2), folder / "spectrograms.png")


def measure_latents(codec: Codec, crops: list[Tensor]) -> Tensor:
    """Set the codec's mean and standard deviation of latents from crops (C, T); returns their raw latents."""
    device = codec.network.mean.device
    raw = torch.cat([codec.network.posterior(codec.split_channels(crop[None].to(device)))[0] for crop in crops])
    codec.network.mean.copy_(raw.mean((0, 2))[:, None])
    codec.network.deviation.copy_(raw.std((0, 2)).clamp(min=1e-3)[:, None])
    return raw


def predictability(latents: Tensor) -> float:
    """Share of the variance of latents (B, Z, F) that the two frames on each side predict linearly.

    To a generator of latents the rest is noise: latents that encode phases reconstruct the waveform better, and are
    harder to generate. The linear map is fitted to one half of the rows and scored on the other.
    """
    frames = double(latents).transpose(1, 2)
    frames = (frames - frames.mean((0, 1))) / frames.std((0, 1)).clamp(min=1e-12)
    half = len(frames) // 2
    if not half or frames.shape[1] < 5:
        return math.nan
    around = torch.cat([frames[:, :-4], frames[:, 1:-3], frames[:, 3:-1], frames[:, 4:]], dim=2)
    known, unseen = (part.flatten(0, 1) for part in (around[:half], around[half:]))
    target, held_out = (part.flatten(0, 1) for part in (frames[:half, 2:-2], frames[half:, 2:-2]))
    ridge = 1e-3 * len(known) * torch.eye(known.shape[1]).to(known)
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ target)
    return float((1 - (held_out - unseen @ weights).square().mean(0) / held_out.var(0).clamp(min=1e-12)).mean())
