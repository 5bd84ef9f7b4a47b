"""Mel-dependent priors: the noise distribution of a vocoder's diffusion process, given the mel.

White noise is far from speech, although the mel determines the level of every band at every moment. A prior divides
that out. It consists of a mean and a pair of linear maps, inverse to each other (nearly, for one of them), which depend
on the mel only,

    waveform = mean(mel) + color(z, mel),   z = whiten(waveform - mean(mel), mel),

and the process runs on z, which is approximately white with variance 1: white noise z becomes noise with the mean and
the covariance that the mel suggests.

- `StandardPrior`: no mean, no gain.
- `EnergyPrior`: one gain per sample, the level of the frames around it (PriorGrad, Lee et al., arXiv 2106.06406, with
  the level itself in place of their normalized energy). whiten and color are exact inverses.
- `MelPrior`: one gain per frame and frequency, the mel's spectral envelope (SpecGrad, Koizumi et al., arXiv 2203.16749,
  with zero phase in place of their minimum phase). A gain on overlapping short-time spectra has no exact inverse of
  this form: inside a clip the round trip has an error of -21 dB. At the ends of a crop, where speech is cut off, the
  mel does not contain the click, which is divided by the small gains at high frequencies: there the error and z are
  larger, the more so the smaller the floor.
- `RoughPrior`: a mean, with the gains of another prior. The magnitudes of least norm with this mel (by the
  pseudo-inverse of its filter bank) get phase 0 at the center of every frame. A mel hardly determines the phase: the
  mean of all signals that have it is close to silence, and any fixed phase is about as far from the speech (correlation
  0.015 over 27 clips). This mean is therefore a hint, not an estimate: it is better used as the start of a bridge
  (`diffusion.bridge`) than subtracted, which explains almost nothing and adds its variance to the remainder. Among the
  phases that a single frame determines, 0 gives the signal whose own mel is closest (0.37 nepers per band over these
  clips; 0.40 with minimum phase, 0.69 with random phases), and its spectrum is a positive number that a complex mask
  can rotate.

Clips have no boundary effects. Frame k of a mel is centered at sample `spec.offset + k * hop_length`; beyond its ends
the first and the last frame are repeated. Short-time spectra are computed with zeros around the signal, so that every
sample lies under the same number of windows and overlap-add divides by one constant. A single clip is therefore
treated as in a longer batch, where it is padded with zeros and its mel by repeating the last frame.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.audio.excitation import interpolate_frames
from audiodiff.audio.mel import MelSpec, filterbank, interpolation, window
from audiodiff.stft import overlap_add, scale, spectrum, synthesize


def envelope(mel: Tensor, spec: MelSpec) -> Tensor:
    """Smooth spectral envelope of a log-mel: (B, M, F) -> (B, F, bins), positive.

    Each band's average over its filter, interpolated geometrically between the bands. The pseudo-inverse of the filter
    bank is sharper but oscillates below 0, and such a filter cannot be inverted.
    """
    average = spec.expand(mel) / filterbank(spec, mel).sum(0)[:, None]
    return (average.log().transpose(-1, -2) @ interpolation(spec, mel) / spec.power).exp()


class Prior(ABC):
    """Mel-dependent distribution of the noise; see the module's docstring. Its mean is 0 by default."""

    has_mean = False
    """Whether `mean` is not zero."""

    def mean(self, mel: Tensor, samples: int) -> Tensor:
        """Mean of the prior: log-mel (B, M, F) -> (B, samples)."""
        return mel.new_zeros(len(mel), samples)

    @abstractmethod
    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the gains: a waveform without its mean (B, T), log-mel (B, M, F) -> (B, T) of variance about 1."""

    @abstractmethod
    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the gains: z (B, T), log-mel (B, M, F) -> (B, T)."""

    def normalize(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Map a waveform to the space of the process: whiten(waveform - mean), (B, T)."""
        return self.whiten(waveform - self.mean(mel, waveform.shape[-1]), mel)

    def restore(self, z: Tensor, mel: Tensor) -> Tensor:
        """Map a sample of the process to a waveform, inverse of `normalize`: mean + color(z), (B, T)."""
        return self.mean(mel, z.shape[-1]) + self.color(z, mel)


class StandardPrior(Prior):
    """White noise: the process runs on the waveform itself."""

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """The waveform, (B, T)."""
        return waveform

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """The sample, (B, T)."""
        return z


class EnergyPrior(Prior):
    """Noise with the level of the mel at each moment.

    Args:
        spec: spec of the mels.
        floor: smallest gain of `color`: the root mean square, relative to full scale 1, of the noise where the mel is
            silent. It limits the gain of `whiten` to 1 / floor.

    Raises:
        ValueError: floor is not above 0. In a call: a mel with other bands or another batch size than the waveform.
    """

    def __init__(self, spec: MelSpec, floor: float = 1e-3):
        _check_floor(floor)
        self.spec, self.floor = spec, floor

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the level: waveform (B, T), log-mel (B, M, F) -> (B, T)."""
        return waveform / self._checked_gain(waveform, mel)

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the level: z (B, T), log-mel (B, M, F) -> (B, T)."""
        return z * self._checked_gain(z, mel)

    def gain(self, mel: Tensor, samples: int) -> Tensor:
        """Gain of `color`: log-mel (B, M, F) -> (B, samples), at least `floor`.

        The root mean square of a signal with the mel's envelope (Parseval's theorem), interpolated geometrically
        between the centers of the frames.
        """
        spec = self.spec
        power = envelope(mel, spec).square()
        both_sides = 2 * power.sum(-1) - power[..., 0] - (power[..., -1] if spec.n_fft % 2 == 0 else 0)
        level = (both_sides / (spec.n_fft * window(spec).square().sum().item())).sqrt().clamp(min=self.floor).log()
        return interpolate_frames(level, spec.hop_length, spec.offset, samples).exp()

    def _checked_gain(self, signal: Tensor, mel: Tensor) -> Tensor:
        _check_fit(mel, self.spec, signal)
        with torch.autocast(signal.device.type, enabled=False):
            return self.gain(mel.to(torch.promote_types(signal.dtype, torch.float32)), signal.shape[-1])


class MelPrior(Prior):
    """Noise shaped by the mel's spectral envelope.

    Args:
        spec: spec of the mels.
        floor: smallest gain of `color`: the root mean square, relative to full scale 1, of the noise where the mel is
            silent. It limits the gain of `whiten` to 1 / floor.
    """

    def __init__(self, spec: MelSpec, floor: float = 1e-3):
        _check_floor(floor)
        self.spec, self.floor = spec, floor

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the envelope: waveform (B, T), log-mel (B, M, F) -> (B, T) of variance about 1.

        In a batch, pad shorter mels by repeating their last frame.
        """
        return self._filter(waveform, mel, inverse=True)

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the envelope: z (B, T), log-mel (B, M, F) -> (B, T); white noise gets the level of the speech."""
        return self._filter(z, mel, inverse=False)

    def gain(self, mel: Tensor) -> Tensor:
        """Gain of `color`: log-mel (B, M, F) -> (B, F, bins), at least `floor`.

        White noise of variance 1 has E|X|^2 = sum(window^2) in every bin, hence the division.
        """
        return (envelope(mel, self.spec) / window(self.spec).square().sum().sqrt().item()).clamp(min=self.floor)

    def _filter(self, waveform: Tensor, mel: Tensor, inverse: bool) -> Tensor:
        spec, samples = self.spec, waveform.shape[-1]
        _check_fit(mel, spec, waveform)
        frames = _Framing.of(spec, samples)
        with torch.autocast(waveform.device.type, enabled=False):
            x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
            gain = self.gain(mel.to(x))[:, frames.mel_index(mel)]
            hann = window(spec, x)
            stft = spectrum(F.pad(x, (frames.before, frames.after)), hann, spec.hop_length)
            filtered = scale(stft, gain.reciprocal() if inverse else gain)
            return frames.fit(synthesize(filtered, hann, spec.hop_length), spec)


class RoughPrior(Prior):
    """Noise around a rough signal, a zero-phase estimate from the mel.

    Args:
        spec: spec of the mels.
        shape: prior that provides the gains; None: `StandardPrior`.

    Raises:
        ValueError: in a call: a mel with other bands.
    """

    has_mean = True

    def __init__(self, spec: MelSpec, shape: Prior | None = None):
        self.spec, self.shape = spec, shape or StandardPrior()

    def mean(self, mel: Tensor, samples: int) -> Tensor:
        """The rough signal: log-mel (B, M, F) -> (B, samples), float64 if the mel is, else float32."""
        from audiodiff.audio.griffin_lim import mel_to_magnitudes  # imports librosa, which is slow

        spec = self.spec
        _check_fit(mel, spec)
        frames = _Framing.of(spec, samples)
        with torch.autocast(mel.device.type, enabled=False):
            mel = mel.to(torch.promote_types(mel.dtype, torch.float32))
            # The phase is 0 at the center of the frame, not at its first sample.
            pulses = torch.fft.irfft(mel_to_magnitudes(mel, spec).transpose(1, 2), n=spec.n_fft).roll(
                spec.n_fft // 2, -1
            )
            summed = overlap_add(pulses[:, frames.mel_index(mel)], spec.hop_length, window(spec, mel))
            return frames.fit(summed, spec)

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Delegates to `shape`."""
        return self.shape.whiten(waveform, mel)

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Delegates to `shape`."""
        return self.shape.color(z, mel)


class _Framing(NamedTuple):
    """All frames that overlap a signal: frame k covers [k * hop - pad, k * hop - pad + n_fft)."""

    samples: int
    first: int
    frames: int
    before: int
    after: int

    @classmethod
    def of(cls, spec: MelSpec, samples: int) -> "_Framing":
        first = -((spec.n_fft - spec.pad - 1) // spec.hop_length)
        frames = -(-(samples + spec.pad) // spec.hop_length) - first
        before = spec.pad - first * spec.hop_length
        return cls(samples, first, frames, before, (frames - 1) * spec.hop_length + spec.n_fft - before - samples)

    def mel_index(self, mel: Tensor) -> Tensor:
        """Index of the mel frame of each frame, (frames,)."""
        return torch.arange(self.first, self.first + self.frames, device=mel.device).clamp(0, mel.shape[-1] - 1)

    def fit(self, summed: Tensor, spec: MelSpec) -> Tensor:
        """The signal whose windowed frames are closest to those overlap-added, windowed, to (B, T): (B, samples)."""
        hann = window(spec, summed)
        # Sum of squared windows: constant if the hop is at most a third of the window, else of period hop.
        weight = overlap_add(hann.square()[None, None], spec.hop_length).view(-1, spec.hop_length).sum(0)
        signal = summed.view(len(summed), -1, spec.hop_length) / weight
        return signal.flatten(1)[:, self.before : self.before + self.samples]


def _check_floor(floor: float) -> None:
    if not floor > 0:
        raise ValueError(f"floor = {floor} is not above 0")


def _check_fit(mel: Tensor, spec: MelSpec, waveform: Tensor | None = None) -> None:
    batch = len(mel) if waveform is None else len(waveform)
    if mel.shape[:2] != (batch, spec.n_mels):
        signal = "" if waveform is None else f"{tuple(waveform.shape)} and "
        raise ValueError(f"mel {tuple(mel.shape)} does not fit {signal}{spec.n_mels} bands")
