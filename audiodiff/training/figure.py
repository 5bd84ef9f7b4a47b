"""Spectrograms of a run's samples, for its folder and its log. No window shows them, so none has to be closed."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.files import atomic_write


def spectrogram_pair(original: Tensor, output: Tensor, title: str) -> Figure:
    """Plot two log-mels (M, F), the original above the output, on one color scale."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    low, high = float(original.min()), float(original.max())
    for axis, mel, label in zip(axes, (original, output), ("original", "output"), strict=True):
        axis.imshow(mel.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
        axis.set_ylabel(f"{label}\nmel band")
    axes[1].set_xlabel("frame")
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def spectrogram_grid(
    clips: Tensor, sample_rate: int, title: str, columns: int = 4, n_fft: int = 1024, range_db: float = 80.0
) -> Figure:
    """Plot spectrograms of clips (B, C, T) in a grid, in dB below the loudest bin of all, frequencies in kHz."""
    rows = -(-len(clips) // columns)
    figure = Figure(figsize=(2.5 * columns, 1.8 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    window = torch.hann_window(n_fft)
    spectra = torch.stft(clips.mean(1), n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    spectra = spectra.abs()
    decibels = 20 * (spectra / spectra.max().clamp(min=1e-9)).clamp(min=1e-9).log10()
    extent = (0, clips.shape[-1] / sample_rate, 0, sample_rate / 2000)
    for axis in axes.flat[len(clips) :]:
        axis.set_axis_off()
    for axis, image in zip(axes.flat, decibels, strict=False):
        axis.imshow(image.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=-range_db, vmax=0, extent=extent)
    for axis in axes[:, 0]:
        axis.set_ylabel("kHz")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    figure.suptitle(title, fontsize=10)
    return figure


def average_spectra(spectra: Mapping[str, AverageSpectrum], title: str) -> Figure:
    """Plot average spectra by name, in dB over frequency."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    for name, spectrum in spectra.items():
        axis.plot(spectrum.hertz / 1000, spectrum.decibels, label=name)
    axis.set_xlabel("kHz")
    axis.set_ylabel("dB")
    axis.legend()
    figure.suptitle(title, fontsize=10)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure as PNG; characters that its font lacks become boxes."""
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(temporary, dpi=90)
