"""Degradation of training crops: as the inputs of a restorer are."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audiodiff.audio.observation import Observation
from audiodiff.data.noises import Noises
from audiodiff.ranges import NonNegativeFloat, Positive, PositiveFloat
from audiodiff.training.batch_random import BatchRandom

KINDS = ("noise", "clipping", "gaps")
_VOICES = (2, 6)  # of a babble
_NUMBERS = 16  # random numbers of a row, at least


class Degradation:
    """One degradation of each crop: noise, clipping or gaps.

    Noise is white to brown or violet, steady or with a level that changes a few times a second, a recorded noise or the
    babble of some voices, or the sum of two of these.

    Args:
        weights: how often there is noise, clipping and gaps.
        snr: smallest and largest ratio of the crop to the noise, in dB.
        slope: smallest and largest slope of generated noise, in dB per octave.
        level: lowest and highest level that crops are clipped at, relative to their peak.
        gap: shortest and longest gap, in seconds.
        gaps: largest number of them.
        noises, voices: folders of prepared data; without them there are no recorded noises, and no babble.
        minutes: of each that are held in memory.

    Raises:
        ValueError: bounds that fall.
    """

    def __init__(
        self,
        weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (0.5, 0.25, 0.25),
        snr: tuple[float, float] = (-5.0, 30.0),
        slope: tuple[float, float] = (-9.0, 3.0),
        level: tuple[PositiveFloat, PositiveFloat] = (0.05, 0.8),
        gap: tuple[PositiveFloat, PositiveFloat] = (0.005, 0.1),
        gaps: Positive = 3,
        noises: Sequence[str] = (),
        voices: Sequence[str] = (),
        minutes: PositiveFloat = 30.0,
    ):
        for name, (low, high) in {"snr": snr, "slope": slope, "level": level, "gap": gap}.items():
            if not low <= high:
                raise ValueError(f"{name} from {low} to {high}")
        self.weights, self.snr, self.slope, self.level = tuple(weights), tuple(snr), tuple(slope), tuple(level)
        self.gap, self.gaps, self.minutes = tuple(gap), gaps, minutes
        self.noises, self.voices = tuple(noises), tuple(voices)
        self._noises: Noises | None = None
        self._voices: Noises | None = None

    def load(self, sample_rate: int) -> None:
        """Read the recordings; raises UserError as `Noises`."""
        if self.noises and self._noises is None:
            self._noises = Noises(self.noises, sample_rate, minutes=self.minutes, permissive=True)
        if self.voices and self._voices is None:
            self._voices = Noises(self.voices, sample_rate, minutes=self.minutes)

    def __call__(self, waveform: Tensor, sample_rate: int, random: BatchRandom) -> Observation:
        """Degrade signals (B, T)."""
        count, samples = waveform.shape
        numbers = random.uniform(count, max(_NUMBERS, 2 + 2 * self.gaps)).double()
        white = random.normal(count, 2, samples).to(waveform)
        shares = torch.tensor(self.weights, dtype=torch.float64).cumsum(0)
        rows = []
        for clip, own, normal in zip(waveform, numbers, white, strict=True):
            kind = KINDS[int((own[0] * shares[-1] >= shares).sum().clamp(max=2))]
            if kind == "noise":
                rows.append(Observation.noisy(clip[None] + self._noise(clip, normal, own[1:], sample_rate)))
            elif kind == "clipping":
                level = between(self.level, own[1], logarithmic=True) * clip.abs().max()
                rows.append(Observation.clipped(clip.clamp(-level, level)[None], level[None]))
            else:
                found = self._draw_gaps(own[1:], samples, sample_rate)
                rows.append(Observation.with_gaps(clip[None], [found], sample_rate))
        return Observation.cat(rows)

    def add_noise(self, waveform: Tensor, sample_rate: int, random: BatchRandom) -> Tensor:
        """Signals (B, T) with noise at random levels."""
        numbers = random.uniform(len(waveform), _NUMBERS).double()
        white = random.normal(len(waveform), 2, waveform.shape[-1]).to(waveform)
        rows = zip(waveform, white, numbers[:, 1:], strict=True)
        return torch.stack([clip + self._noise(clip, normal, own, sample_rate) for clip, normal, own in rows])

    def _draw_gaps(self, numbers: Tensor, samples: int, sample_rate: int) -> list[tuple[int, int]]:
        """Gaps in order, one in each of equal parts of the crop."""
        count = 1 + int(numbers[0] * self.gaps)
        found, part = [], samples // count
        for k in range(count):
            length = int(between(self.gap, numbers[1 + 2 * k], logarithmic=True) * sample_rate)
            length = max(min(length, part // 2), 1)
            start = k * part + int(numbers[2 + 2 * k] * (part - length))
            found.append((start, start + length))
        return found

    def _noise(self, clip: Tensor, white: Tensor, numbers: Tensor, sample_rate: int) -> Tensor:
        """Noise (T,) at a random level below the crop (T,)."""
        noise = self._source(clip, white, numbers[:6], sample_rate)
        if numbers[12] < 0.3:
            mixed = self._source(clip, white.flip(0), numbers[6:12], sample_rate)
            noise = noise + mixed * noise.norm() / mixed.norm().clamp(min=1e-9) * 10 ** (numbers[13] - 0.5).to(noise)
        ratio = 10 ** (between(self.snr, numbers[14]) / 20)
        return noise * (clip.norm() / noise.norm().clamp(min=1e-9) / ratio).to(noise)

    def _source(self, clip: Tensor, white: Tensor, numbers: Tensor, sample_rate: int) -> Tensor:
        """Noise (T,) of one kind, generated from white noise (2, T) or recorded."""
        samples = clip.shape[-1]
        choice = float(numbers[0])
        if choice < 0.35 and self._noises is not None:
            return self._noises.stretch(float(numbers[1]), samples).to(clip)
        if choice < 0.55 and self._voices is not None:
            low, high = _VOICES
            voices = low + int(numbers[1] * (high - low + 1))
            places = (numbers[2] + torch.arange(voices) * 0.6180339887498949) % 1
            return self._voices.babble(places, samples).to(clip)
        noise = colored(white[0], between(self.slope, numbers[2]), sample_rate)
        if choice < 0.8:
            return noise
        rate = between((0.5, 8.0), numbers[3], logarithmic=True)
        return noise * (between((0.5, 1.5), numbers[4]) * slow(white[1], rate, sample_rate)).exp().to(noise)


def between(bounds: tuple[float, float], number: Tensor, logarithmic: bool = False) -> float:
    """The value between two bounds at a place in [0, 1), on a linear or a logarithmic scale."""
    low, high = bounds
    return low * (high / low) ** float(number) if logarithmic else low + (high - low) * float(number)


def colored(white: Tensor, slope: float, sample_rate: float) -> Tensor:
    """White noise (T,) with a slope in dB per octave above 50 Hz."""
    spectrum = torch.fft.rfft(white)
    hertz = torch.linspace(0, sample_rate / 2, spectrum.shape[-1], device=white.device).clamp(min=50)
    return torch.fft.irfft(spectrum * (hertz / 1000) ** (slope / (20 * math.log10(2))), n=white.shape[-1])


def slow(white: Tensor, rate: float, sample_rate: float) -> Tensor:
    """The part below a rate in Hz of white noise (T,), at unit variance."""
    spectrum = torch.fft.rfft(white)
    hertz = torch.linspace(0, sample_rate / 2, spectrum.shape[-1], device=white.device)
    low = torch.fft.irfft(spectrum * (hertz < max(rate, 2 * sample_rate / white.shape[-1])), n=white.shape[-1])
    return low / low.square().mean().sqrt().clamp(min=1e-9)
