"""Priors: what the noise end of a vocoder's process sounds like.

White noise is far from speech: a mel already tells the level of every band at every moment. `MelPrior` moves the
process to where that is divided out (PriorGrad, Lee et al. 2021; SpecGrad, Koizumi et al. 2022): the network sees
`whiten(waveform, mel)`, about white and of variance 1, and what it makes is brought back by `colour(z, mel)`, so that
white noise becomes noise with the envelope of the speech.

Both multiply the short-time Fourier transform by a real gain, the mel's spectral envelope or its inverse. The signal is
framed with zeros around it, so that every sample lies under the same number of windows and the overlap-add divides by
one constant: both maps are linear in the waveform, have no edges, and treat a clip alone as they treat it zero-padded
in a longer batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.audio.mel import MelSpec, filterbank, interpolation, spectrum, window


def envelope(mel: Tensor, spec: MelSpec) -> Tensor:
    """Smooth spectral magnitudes that a log-mel stands for: (B, M, F) -> (B, F, bins), above 0.

    Each band's average over its filter, interpolated geometrically between the bands. The pseudo-inverse of the
    filterbank is sharper, but rings below 0; a filter with such holes cannot be undone.
    """
    average = spec.expand(mel) / filterbank(spec, mel).sum(0)[:, None]
    return (average.log().transpose(-1, -2) @ interpolation(spec, mel) / spec.power).exp()


def overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """Sum frames at their places: (B, K, n) -> (B, (K - 1) * hop + n), rounded up to whole hops."""
    frames = F.pad(frames, (0, -frames.shape[-1] % hop_length))
    batch, count, length = frames.shape
    overlaps = length // hop_length
    out = frames.new_zeros(batch, count + overlaps - 1, hop_length)
    for i in range(overlaps):
        out[:, i : i + count] += frames[:, :, i * hop_length : (i + 1) * hop_length]
    return out.reshape(batch, -1)


class StandardPrior:
    """White noise: the process runs on the waveform itself."""

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """The waveform, (B, T)."""
        return waveform

    def colour(self, z: Tensor, mel: Tensor) -> Tensor:
        """The sample, (B, T)."""
        return z


class MelPrior:
    """Noise shaped by the mel's spectral envelope.

    Args:
        spec: of the mels.
        floor: smallest gain of `colour`: the root-mean-square level, full scale being 1, of the white noise that it
            leaves where the mel says silence. It bounds the gain of `whiten` by 1 / floor.
    """

    def __init__(self, spec: MelSpec, floor: float = 1e-3):
        if not floor > 0:
            raise ValueError(f"floor = {floor} is not above 0")
        self.spec, self.floor = spec, floor

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the envelope: waveform (B, T), log-mel (B, M, F) -> (B, T) of variance about 1.

        Frame k of the mel counts from sample `spec.offset + k * hop_length`; beyond its ends the first and last frames
        are held, so in a batch pad shorter mels by repeating their last frame.
        """
        return self._filter(waveform, mel, inverse=True)

    def colour(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the envelope: z (B, T), log-mel (B, M, F) -> (B, T); white noise gets the level of the speech."""
        return self._filter(z, mel, inverse=False)

    def gain(self, mel: Tensor) -> Tensor:
        """`colour`'s gain: log-mel (B, M, F) -> (B, F, bins), at least `floor`.

        White noise of variance 1 has E|X|^2 = sum(window^2) in every bin, hence the division.
        """
        return (envelope(mel, self.spec) / window(self.spec).square().sum().sqrt().item()).clamp(min=self.floor)

    def _filter(self, waveform: Tensor, mel: Tensor, inverse: bool) -> Tensor:
        spec, (batch, samples) = self.spec, waveform.shape
        if mel.shape[:2] != (batch, spec.n_mels):
            raise ValueError(f"mel {tuple(mel.shape)} does not fit {tuple(waveform.shape)} and {spec.n_mels} bands")
        # All frames that touch the signal: frame k covers [k * hop - pad, k * hop - pad + n_fft).
        first = -((spec.n_fft - spec.pad - 1) // spec.hop_length)
        count = -(-(samples + spec.pad) // spec.hop_length) - first
        before = spec.pad - first * spec.hop_length
        after = (count - 1) * spec.hop_length + spec.n_fft - before - samples
        with torch.autocast(waveform.device.type, enabled=False):
            x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
            held = torch.arange(first, first + count, device=mel.device).clamp(0, mel.shape[-1] - 1)
            gain = self.gain(mel.to(x))[:, held]
            hann = window(spec, x)
            stft = spectrum(F.pad(x, (before, after)), hann, spec.hop_length)
            frames = torch.fft.irfft(stft / gain if inverse else stft * gain, n=spec.n_fft) * hann
            # Windows over a sample: a constant where the hop is a third of the window or less, else of period hop.
            weight = overlap_add(hann.square()[None, None], spec.hop_length).view(-1, spec.hop_length).sum(0)
            summed = overlap_add(frames, spec.hop_length).view(batch, -1, spec.hop_length) / weight
            return summed.flatten(1)[:, before : before + samples]
