"""Variances of the modes of a model's data: the spectrum that time grids are fitted to.

The modes of a waveform are the bins of its short-time Fourier transform in each frame; the power in a bin, relative to
white noise, is the variance of its mode. A mean over time would be flat, because the waveform is whitened. What matters
to a sampler is the spread: harmonics above the envelope, the gaps between them, pauses far below. The powers of
stationary noise scatter too (by 18 dB between the 5th and the 95th percentile), and that counts as spread. Averaging it
out, over two frames and three bins, gave fitted grids of a speech vocoder that agreed less with many steps.

The modes of latents are the frequencies of each principal axis of the channels. A codec's channels have similar power
but are correlated, and its frame rate is low: the overall sound of a clip lies in a few modes 20 dB above the mean.
They are determined at high noise levels, where a grid for signals of unit variance has no steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.data.dataset import ClipDataset, CropDataset
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.grids.fitted import Spectrum
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation.held_out import of_labels
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

MAX_SECONDS = 5.0
_N_FFT = 1024  # of models without a mel spectrogram


def load_recordings(manifest: Manifest, splits: Sequence[str], limit: int, sample_rate: int) -> list[Tensor]:
    """Load up to `limit` clips (T,), chosen by a hash of their ids, each cut to MAX_SECONDS.

    Raises:
        UserError: the splits have no clip.
    """
    clips = sorted(manifest.with_splits(*splits).clips, key=lambda clip: clip_seed(0, clip.id))[:limit]
    if not clips:
        raise UserError(manifest.root, f"has no clip in {' or '.join(splits)}", "prepare more recordings")
    dataset = ClipDataset(Manifest(tuple(clips), manifest.root), sample_rate, MAX_SECONDS)
    return [dataset[i]["waveform"] for i in range(len(dataset))]


def load_crops(manifest: Manifest, count: int, generator: AudioGenerator) -> list[Tensor]:
    """Load random crops (C, T) of the training recordings with the model's labels, as long as the clips it generates.

    Raises:
        UserError: there is no such recording.
    """
    model, from_start = generator.model, bool(generator.training.get("from_start"))
    training = of_labels(manifest, model.labels).with_splits("train")
    dataset = CropDataset(training, model.sample_rate, model.samples, channels=model.channels, from_start=from_start)
    return [dataset[index]["waveform"] for index in range(count)]


def measure_spectrum(pipeline: Vocoder | AudioGenerator, waveforms: Sequence[Tensor]) -> Spectrum:
    """Measure the spectrum of recordings ((T,) for a vocoder, (C, T) for a generator) in the space the model diffuses.

    Raises:
        UserError: all of them are silent.
    """
    if not any(bool(waveform.any()) for waveform in waveforms):
        raise UserError(f"{len(waveforms)} recordings", "are silent", "give some with sound")
    diffused = [pipeline.process_signal(Audio(waveform, pipeline.sample_rate)).cpu() for waveform in waveforms]
    if isinstance(pipeline, Vocoder):
        powers = [_stft_powers(one, pipeline.spec.n_fft) for one in diffused]
    elif pipeline.model.codec is None:
        powers = [_stft_powers(one, _N_FFT) for one in diffused]
    else:
        axes = _principal_axes(diffused)
        powers = [torch.fft.rfft(axes.T @ one, norm="ortho").abs().square() for one in diffused]
    return Spectrum.of_powers(torch.cat([one.flatten() for one in powers]))


def _stft_powers(waveform: Tensor, n_fft: int) -> Tensor:
    """Powers of (C, T) in all bins and frames; white noise has mean 1."""
    window = torch.hann_window(n_fft)
    bins = torch.stft(waveform, n_fft, n_fft // 2, window=window, pad_mode="constant", return_complex=True)
    return bins.abs().square() / window.square().sum()


def _principal_axes(latents: Sequence[Tensor]) -> Tensor:
    """Principal axes of latents (Z, F), as columns (Z, Z)."""
    return torch.linalg.eigh(sum(one @ one.T / one.shape[-1] for one in latents)).eigenvectors
