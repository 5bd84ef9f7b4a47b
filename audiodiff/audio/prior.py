"""Priors: what the noise end of a vocoder's process sounds like, told from the mel.

White noise is far from speech: a mel already tells the level of every band at every moment. A prior divides that out.
Each is a mean and a pair of linear maps that undo each other (nearly, for one of them), made from the mel alone,

    waveform = mean(mel) + color(z, mel),   z = whiten(waveform - mean(mel), mel),

and the process runs on z, which is about white and of variance 1: its white noise becomes noise of the mean and the
covariance that the mel suggests.

- `StandardPrior`: no mean, no color.
- `EnergyPrior`: one gain for each moment, the level of the frames around it (PriorGrad, Lee et al., arXiv 2106.06406,
  with the level itself in place of their normalized energy). whiten and color undo each other exactly.
- `MelPrior`: one gain for each moment and frequency, the mel's spectral envelope (SpecGrad, Koizumi et al., arXiv
  2203.16749, with zero phase in place of their minimum phase). A gain on overlapping short-time spectra has no exact
  inverse of this form: inside a clip speech comes back with an error 21 dB below it. Where speech is cut off, as at the
  ends of a crop, the mel knows nothing of the cut, whose click is divided by the small gains of the treble: there the
  error is larger, and so is z, the more the smaller the floor.
- `RoughPrior`: a mean, beside the gains of another prior. The magnitudes of least norm with this mel (by the
  pseudo-inverse of its filterbank) get phase 0 at the center of every frame. A mel hardly tells the phase: the mean of
  all signals that have it is close to silence, and any fixed phase is about as far from the speech (correlation 0.015
  over 27 clips). So this mean is a hint and no estimate: it is better crossed from (`diffusion.bridge`) than
  subtracted, which explains next to nothing and adds its variance to what is left. Of the phases that a frame alone can
  tell, 0 gives the signal whose own mel is closest (by 0.37 nepers a band over these clips; 0.40 with minimum phase,
  0.69 with random ones), and its spectrum is a positive number that a complex mask has to turn.

Nothing has an edge. Frame k of a mel is centered at sample `spec.offset + k * hop_length`, and beyond its ends the
first and the last frame are held. Where short-time spectra are used, the signal is framed with zeros around it, so that
every sample lies under the same number of windows and the overlap-add divides by one constant. A clip alone is
therefore treated as in a longer batch, where it is padded with zeros and its mel by repeating the last frame."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from audiodiff.audio.excitation import interpolate_frames
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


class Prior(ABC):
    """The noise end of a process as the mel tells it; see the module's docstring. No mean unless one is given."""

    has_mean = False
    """Whether `mean` is more than silence."""

    def mean(self, mel: Tensor, samples: int) -> Tensor:
        """The mean: log-mel (B, M, F) -> (B, samples)."""
        return mel.new_zeros(len(mel), samples)

    @abstractmethod
    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the gains: a waveform without its mean (B, T), log-mel (B, M, F) -> (B, T) of variance about 1."""

    @abstractmethod
    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the gains: z (B, T), log-mel (B, M, F) -> (B, T)."""

    def normalize(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """What the process runs on: whiten(waveform - mean), (B, T)."""
        return self.whiten(waveform - self.mean(mel, waveform.shape[-1]), mel)

    def restore(self, z: Tensor, mel: Tensor) -> Tensor:
        """The waveform of a sample, the inverse of `normalize`: mean + color(z), (B, T)."""
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
    """Noise of the level that the mel has at each moment.

    Args:
        spec: of the mels.
        floor: smallest gain of `color`: the root-mean-square level, full scale being 1, of the white noise that it
            leaves where the mel says silence. It bounds the gain of `whiten` by 1 / floor.

    Raises:
        ValueError: floor is not above 0. In a call: a mel of other bands or of another batch than the waveform.
    """

    def __init__(self, spec: MelSpec, floor: float = 1e-3):
        _check_floor(floor)
        self.spec, self.floor = spec, floor

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the level: waveform (B, T), log-mel (B, M, F) -> (B, T)."""
        return waveform / self._gain_of(waveform, mel)

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the level: z (B, T), log-mel (B, M, F) -> (B, T)."""
        return z * self._gain_of(z, mel)

    def gain(self, mel: Tensor, samples: int) -> Tensor:
        """`color`'s gain: log-mel (B, M, F) -> (B, samples), at least `floor`.

        The root mean square of a signal with the mel's envelope, by Parseval's theorem, interpolated geometrically
        between the centers of the frames.
        """
        spec = self.spec
        power = envelope(mel, spec).square()
        both_sides = 2 * power.sum(-1) - power[..., 0] - (power[..., -1] if spec.n_fft % 2 == 0 else 0)
        level = (both_sides / (spec.n_fft * window(spec).square().sum().item())).sqrt().clamp(min=self.floor).log()
        return interpolate_frames(level, spec.hop_length, spec.offset, samples).exp()

    def _gain_of(self, signal: Tensor, mel: Tensor) -> Tensor:
        _check_fit(mel, self.spec, signal)
        with torch.autocast(signal.device.type, enabled=False):
            return self.gain(mel.to(torch.promote_types(signal.dtype, torch.float32)), signal.shape[-1])


class MelPrior(Prior):
    """Noise shaped by the mel's spectral envelope.

    Args:
        spec: of the mels.
        floor: smallest gain of `color`: the root-mean-square level, full scale being 1, of the white noise that it
            leaves where the mel says silence. It bounds the gain of `whiten` by 1 / floor.
    """

    def __init__(self, spec: MelSpec, floor: float = 1e-3):
        _check_floor(floor)
        self.spec, self.floor = spec, floor

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Divide by the envelope: waveform (B, T), log-mel (B, M, F) -> (B, T) of variance about 1.

        Frame k of the mel counts from sample `spec.offset + k * hop_length`; beyond its ends the first and last frames
        are held, so in a batch pad shorter mels by repeating their last frame.
        """
        return self._filter(waveform, mel, inverse=True)

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """Multiply by the envelope: z (B, T), log-mel (B, M, F) -> (B, T); white noise gets the level of the speech."""
        return self._filter(z, mel, inverse=False)

    def gain(self, mel: Tensor) -> Tensor:
        """`color`'s gain: log-mel (B, M, F) -> (B, F, bins), at least `floor`.

        White noise of variance 1 has E|X|^2 = sum(window^2) in every bin, hence the division.
        """
        return (envelope(mel, self.spec) / window(self.spec).square().sum().sqrt().item()).clamp(min=self.floor)

    def _filter(self, waveform: Tensor, mel: Tensor, inverse: bool) -> Tensor:
        spec, samples = self.spec, waveform.shape[-1]
        _check_fit(mel, spec, waveform)
        frames = _Framing.of(spec, samples)
        with torch.autocast(waveform.device.type, enabled=False):
            x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
            gain = self.gain(mel.to(x))[:, frames.held(mel)]
            hann = window(spec, x)
            stft = spectrum(F.pad(x, (frames.before, frames.after)), hann, spec.hop_length)
            filtered = torch.fft.irfft(stft / gain if inverse else stft * gain, n=spec.n_fft)
            return frames.join(filtered, spec)


class RoughPrior(Prior):
    """Noise around a rough signal that has about this mel.

    Args:
        spec: of the mels.
        shape: whose gains whiten and color; None: `StandardPrior`.

    Raises:
        ValueError: in a call: a mel of other bands.
    """

    has_mean = True

    def __init__(self, spec: MelSpec, shape: Prior | None = None):
        self.spec, self.shape = spec, shape or StandardPrior()

    def mean(self, mel: Tensor, samples: int) -> Tensor:
        """The rough signal: log-mel (B, M, F) -> (B, samples), in float64 if the mel is, else float32."""
        from audiodiff.audio.griffin_lim import mel_to_magnitudes  # imports librosa, which takes its time

        spec = self.spec
        _check_fit(mel, spec)
        frames = _Framing.of(spec, samples)
        with torch.autocast(mel.device.type, enabled=False):
            mel = mel.to(torch.promote_types(mel.dtype, torch.float32))
            # An inverse transform counts time from the frame's first sample, the phase is to be 0 at its center.
            pulses = torch.fft.irfft(mel_to_magnitudes(mel, spec).transpose(1, 2), n=spec.n_fft).roll(
                spec.n_fft // 2, -1
            )
            return frames.join(pulses[:, frames.held(mel)], spec)

    def whiten(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """As `shape` does."""
        return self.shape.whiten(waveform, mel)

    def color(self, z: Tensor, mel: Tensor) -> Tensor:
        """As `shape` does."""
        return self.shape.color(z, mel)


class _Framing(NamedTuple):
    """All frames that touch a signal of so many samples: frame k covers [k * hop - pad, k * hop - pad + n_fft)."""

    samples: int
    first: int
    count: int
    before: int
    after: int

    @classmethod
    def of(cls, spec: MelSpec, samples: int) -> "_Framing":
        first = -((spec.n_fft - spec.pad - 1) // spec.hop_length)
        count = -(-(samples + spec.pad) // spec.hop_length) - first
        before = spec.pad - first * spec.hop_length
        return cls(samples, first, count, before, (count - 1) * spec.hop_length + spec.n_fft - before - samples)

    def held(self, mel: Tensor) -> Tensor:
        """Which frame of the mel each of them takes, (count,)."""
        return torch.arange(self.first, self.first + self.count, device=mel.device).clamp(0, mel.shape[-1] - 1)

    def join(self, frames: Tensor, spec: MelSpec) -> Tensor:
        """The signal whose windowed frames are closest to these: (B, count, n_fft) -> (B, samples)."""
        hann = window(spec, frames)
        # Windows over a sample: a constant where the hop is a third of the window or less, else of period hop.
        weight = overlap_add(hann.square()[None, None], spec.hop_length).view(-1, spec.hop_length).sum(0)
        summed = overlap_add(frames * hann, spec.hop_length).view(len(frames), -1, spec.hop_length) / weight
        return summed.flatten(1)[:, self.before : self.before + self.samples]


def _check_floor(floor: float) -> None:
    if not floor > 0:
        raise ValueError(f"floor = {floor} is not above 0")


def _check_fit(mel: Tensor, spec: MelSpec, waveform: Tensor | None = None) -> None:
    batch = len(mel) if waveform is None else len(waveform)
    if mel.shape[:2] != (batch, spec.n_mels):
        signal = "" if waveform is None else f"{tuple(waveform.shape)} and "
        raise ValueError(f"mel {tuple(mel.shape)} does not fit {signal}{spec.n_mels} bands")
