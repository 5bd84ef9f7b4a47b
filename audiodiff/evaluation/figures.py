"""Audio and spectrograms as data URIs, so that a report is a single file."""

import base64
import io

import numpy as np
import soundfile
import torch

RANGE_DB = 80.0
INK = "#808080"  # readable on white and on black


def sound(samples: np.ndarray, sample_rate: int) -> str:
    """Encode audio (T,) or (T, C) as 16-bit FLAC: lossless, to have no codec artifacts."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return _uri("audio/flac", buffer.getvalue())


def decibels(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Spectrogram (bins, frames) in dB relative to a full-scale sine, 32 ms Hann windows every 8 ms."""
    length = round(0.032 * sample_rate)
    window = torch.hann_window(length)
    spectrum = torch.stft(
        torch.from_numpy(samples), length, length // 4, window=window, pad_mode="constant", return_complex=True
    )
    return 20 * np.log10(np.maximum(spectrum.abs().numpy() / (window.sum().item() / 2), 1e-8))


def spectrogram_pair(left: np.ndarray, right: np.ndarray, titles: tuple[str, str], sample_rate: int) -> str:
    """Spectrograms of two signals (T,) side by side, relative to the maximum of `left`; transparent PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    top = decibels(left, sample_rate).max()
    figure = Figure(figsize=(11, 2.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, samples, title in zip(axes, (left, right), titles, strict=True):
        seconds, kilohertz = len(samples) / sample_rate, sample_rate / 2000
        ax.imshow(
            decibels(samples, sample_rate),
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, kilohertz),
            cmap="magma",
            vmin=top - RANGE_DB,
            vmax=top,
        )
        ax.set_title(title, color=INK, fontsize=10, loc="left")
        ax.set_xlabel("seconds", color=INK, fontsize=8)
        ax.tick_params(colors=INK, labelsize=8, length=3)
        for spine in ax.spines.values():
            spine.set_visible(False)
    axes[0].set_ylabel("kHz", color=INK, fontsize=8)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"savefig.transparent": True}):
        figure.savefig(buffer, format="png", dpi=110)
    return png_uri(buffer.getvalue())


def png_uri(content: bytes) -> str:
    """A PNG as a data URI."""
    return _uri("image/png", content)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
