"""The modes of what a model diffuses, and how much each varies: what a time grid is fitted to.

Of a waveform the modes are taken to be the bins of its short-time Fourier transform in every frame, and the power in a
bin, relative to that of white noise, to be the variance of its mode. A mean over time would be flat, for that is what
whitening is for; what a sampler has to cope with is the spread: harmonics above the envelope, the gaps between them,
pauses far below. The powers of a stationary noise scatter, too (by 18 dB between 5 and 95 percent), and that is counted
as spread. Averaging it out, over two frames and three bins, made the fitted grids of a speech vocoder agree less with
many network calls.

Of latents they are the frequencies of each principal axis of the channels. A codec's channels are alike in power but
not independent, and its frames are slow: what a clip sounds like on the whole lies in a few modes 20 dB above the mean.
They are decided when there is hardly any signal yet, where a grid for signals of unit variance has no steps.
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
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

LONGEST_SECONDS = 5.0
_FRAME = 1024  # samples, of waveforms without a mel


def recordings(manifest: Manifest, splits: Sequence[str], limit: int, sample_rate: int) -> list[Tensor]:
    """At most `limit` clips (T,), drawn by a hash of their ids, of each at most the first LONGEST_SECONDS.

    Raises:
        UserError: the splits hold no clip.
    """
    clips = sorted(manifest.with_splits(*splits).clips, key=lambda clip: clip_seed(0, clip.id))[:limit]
    if not clips:
        raise UserError(manifest.root, f"has no clip in {' or '.join(splits)}", "prepare more recordings")
    found = ClipDataset(Manifest(tuple(clips), manifest.root), sample_rate, LONGEST_SECONDS)
    return [found[i]["waveform"] for i in range(len(found))]


def crops(manifest: Manifest, count: int, generator: AudioGenerator) -> list[Tensor]:
    """Crops (C, T) of the training recordings of a model's kinds, each as long as its clips.

    Raises:
        UserError: there is no such recording.
    """
    model, from_start = generator.model, bool(generator.training.get("from_start"))
    known = manifest.with_splits("train").with_labels(*model.labels)
    found = CropDataset(known, model.sample_rate, model.samples, channels=model.channels, from_start=from_start)
    return [found[draw]["waveform"] for draw in range(count)]


def spectrum(synthesiser: Vocoder | AudioGenerator, waveforms: Sequence[Tensor]) -> Spectrum:
    """The spectrum of recordings, of a vocoder (T,), of a model of music (C, T), as the model diffuses them.

    Raises:
        UserError: all of them are silent.
    """
    if not any(bool(waveform.any()) for waveform in waveforms):
        raise UserError(f"{len(waveforms)} recordings", "are silent", "give some with sound")
    diffused = [synthesiser.diffused(Audio(waveform, synthesiser.sample_rate)).cpu() for waveform in waveforms]
    if isinstance(synthesiser, Vocoder):
        powers = [_of_waveform(one, synthesiser.spec.n_fft) for one in diffused]
    elif synthesiser.model.codec is None:
        powers = [_of_waveform(one, _FRAME) for one in diffused]
    else:
        axes = _principal_axes(diffused)
        powers = [torch.fft.rfft(axes.T @ one, norm="ortho").abs().square() for one in diffused]
    return Spectrum.of_powers(torch.cat([one.flatten() for one in powers]))


def _of_waveform(z: Tensor, frame: int) -> Tensor:
    """Powers of (C, T) in all bins and frames, 1 for white noise."""
    window = torch.hann_window(frame)
    bins = torch.stft(z, frame, frame // 2, window=window, pad_mode="constant", return_complex=True)
    return bins.abs().square() / window.square().sum()


def _principal_axes(latents: Sequence[Tensor]) -> Tensor:
    """(Z, Z), an axis a column, of latents (Z, F) each."""
    return torch.linalg.eigh(sum(one @ one.T / one.shape[-1] for one in latents)).eigenvectors
