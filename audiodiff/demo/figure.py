"""Figures of spectrograms."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from audiodiff.audio.mel import MelSpec
from audiodiff.pipelines.speech import Speech

_SHOWN_PHONEMES = 120  # more would overlap


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


def speech_figure(speech: Speech) -> Figure:
    """Plot the waveform of speech, its words and phonemes below it, each where it is spoken."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    wave, times = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    samples = speech.audio.samples.detach().cpu()
    step = max(1, len(samples) // 4000)  # no finer than the picture
    blocks = samples[: len(samples) // step * step].view(-1, step)
    low, high = blocks.amin(1), blocks.amax(1)
    seconds = torch.arange(len(low)) * step / speech.audio.sample_rate
    wave.fill_between(seconds.numpy(), low.numpy(), high.numpy(), linewidth=0.4)
    wave.set(title="Waveform, words and phonemes", ylim=(-1, 1), xlim=(0, speech.seconds))
    for word in speech.words:
        times.axvspan(word.start, word.end, alpha=0.12)
        times.text((word.start + word.end) / 2, 0.72, word.text, ha="center", va="center", fontsize=8, clip_on=True)
    shown = [phoneme for phoneme in speech.phonemes if phoneme.symbol.strip()]
    for phoneme in shown if len(shown) <= _SHOWN_PHONEMES else ():
        middle = (phoneme.start + phoneme.end) / 2
        times.text(middle, 0.25, phoneme.symbol, ha="center", va="center", fontsize=8, clip_on=True)
    times.set(xlabel="seconds", ylim=(0, 1), yticks=[])
    return figure
