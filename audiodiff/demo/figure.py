"""Figures of spectrograms."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from audiodiff.audio.mel import MelSpec


def mel_figure(mel: Tensor, spec: MelSpec) -> Figure:
    """Plot a log-mel (M, F): time in seconds to the right, mel bands upwards.

    Without pyplot, whose state requests in several threads would share.
    """
    bands, frames = mel.shape
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    seconds = frames * spec.hop_length / spec.sample_rate
    image = axes.imshow(
        mel.detach().cpu().numpy(), origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, bands)
    )
    span = f"{bands} bands from {spec.f_min:g} to {spec.f_max:g} Hz"
    axes.set(title=f"Mel spectrogram: {span}", xlabel="seconds", ylabel="mel band")
    figure.colorbar(image, ax=axes, pad=0.01, label={"e": "ln", "10": "log10", "db": "dB"}[spec.log_base])
    return figure


def spectrum_figure(samples: Tensor, sample_rate: int, n_fft: int = 2048, range_db: float = 90.0) -> Figure:
    """Plot the spectrogram of a signal (T,): dB below its loudest point, kHz upwards."""
    hop = max(n_fft // 4, len(samples) // 2000)  # no finer than the picture
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(samples.float(), n_fft, hop, window=window, return_complex=True, pad_mode="constant").abs()
    decibels = 20 * (spectrum / spectrum.max().clamp(min=1e-9)).clamp(min=1e-9).log10()
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    extent = (0, len(samples) / sample_rate, 0, sample_rate / 2000)
    picture = {"origin": "lower", "aspect": "auto", "cmap": "magma", "extent": extent, "vmin": -range_db, "vmax": 0}
    image = axes.imshow(decibels.numpy(), **picture)
    axes.set(title="Spectrogram", xlabel="seconds", ylabel="kHz")
    figure.colorbar(image, ax=axes, pad=0.01, label="dB")
    return figure
