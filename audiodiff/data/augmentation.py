"""Augmentation of training crops: random changes of voice, room, microphone and level.

A vocoder does not generate what its training data lacks. Each effect models one difference between recordings, and
they are applied in the order of the signal path:

- `Speed`: the size of the sound source. Playing a recording at another rate scales pitch and formants alike, as a
  larger or smaller drum and a longer or shorter vocal tract do (Jaitly and Hinton 2013; Ko et al. 2015, "Audio
  augmentation for speech recognition");
- `Room`: late reverberation is Gaussian noise under an exponential envelope (Polack 1988; Moorer 1979, "About this
  reverberation business"), 60 dB down after the reverberation time;
- `Noise`: background noise whose power falls with frequency;
- `Equalization`: the response of a microphone, a random gain in dB that is smooth over the logarithm of the frequency;
- `Level` and `Polarity`: gain and wiring;
- `Delay`: silence before the onset.

`Mixing` adds a second clip and joins the captions (Kim et al. 2022, "Improving text-to-audio models with synthetic
captions", and before them mixup, Zhang et al. 2018), so that training has mixtures that no recording has. Which clip is
added depends on the set of clips and not on their order, since latents of mixtures are stored under a hash of the set.

They change the waveform, of which the mel is computed later, so mel and target always agree. A crop is still a pure
function of the data set's seed and the draw. Each effect has a random stream of its own: switching one off leaves the
others as they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from math import gcd

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from audiodiff.data.manifest import Clip
from audiodiff.ranges import NonNegativeFloat, PositiveFloat, UnitInterval

_LOWEST = 40.0  # Hz: gains are constant below
_EDGE_SECONDS = 0.1  # of silence around a filtered crop: smooth gains have shorter responses
_SPEED_STEPS = 100  # speeds of a recording are rounded to this share of the sample rate: resampling ratios stay simple
# Random streams; those of the other effects count from `_EFFECTS` on.
_SPEED, _EFFECTS, _PARTNER, _MIXING = 0, 1, 100, 101

Range = tuple[float, float]


class Effect(ABC):
    """A random change of a waveform.

    Args:
        probability: share of the crops that it changes.
    """

    def __init__(self, probability: UnitInterval = 1.0):
        self.probability = probability

    def __call__(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Change a waveform (..., T), or return it as it is."""
        chosen = random.random() < self.probability
        return self.apply(waveform, sample_rate, random) if chosen else waveform

    @abstractmethod
    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Change a waveform (..., T), all channels alike."""


class Speed:
    """Playing at another speed, which multiplies all frequencies and divides the duration.

    Args:
        factor: smallest and largest speed, drawn evenly on a logarithmic scale.
        probability: share of the crops that it changes.
    """

    def __init__(self, factor: tuple[PositiveFloat, PositiveFloat] = (0.84, 1.19), probability: UnitInterval = 0.5):
        self.factor, self.probability = _ordered("factor", factor), probability

    def __call__(self, clip: Clip, sample_rate: int, random: np.random.Generator) -> Clip:
        """The clip as though its file had another sample rate; `sample_rate` is that of the crops."""
        if random.random() >= self.probability:
            return clip
        factor = np.exp(random.uniform(*np.log(self.factor)))
        unit = sample_rate // gcd(sample_rate, _SPEED_STEPS)
        rate = max(round(clip.sample_rate * factor / unit), 1) * unit
        exact = rate / clip.sample_rate
        durations = tuple(seconds / exact for seconds in clip.durations)
        pitch = tuple(hertz * exact for hertz in clip.pitch)
        seconds, tempo = clip.samples / rate, clip.tempo * exact
        return replace(clip, sample_rate=rate, seconds=seconds, tempo=tempo, durations=durations, pitch=pitch)


class Room(Effect):
    """Reverberation.

    Args:
        reverberation: shortest and longest reverberation time (RT60) in seconds.
        direct: smallest and largest ratio of direct to reverberant energy, in dB.
        deviation: standard deviation of the gain of the reverberation in each octave, in dB.
        probability: share of the crops that it changes.
    """

    def __init__(
        self,
        reverberation: tuple[PositiveFloat, PositiveFloat] = (0.1, 0.7),
        direct: tuple[float, float] = (0.0, 20.0),
        deviation: NonNegativeFloat = 4.0,
        probability: UnitInterval = 0.3,
    ):
        super().__init__(probability)
        self.reverberation, self.direct = _ordered("reverberation", reverberation), _ordered("direct", direct)
        self.deviation = deviation

    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Add the reverberation of a random room; the power stays the same."""
        response = self.response(sample_rate, random)
        size = next_fast_len(waveform.shape[-1] + len(response) - 1, real=True)
        spectrum = torch.fft.rfft(waveform, n=size) * torch.fft.rfft(response, n=size)
        return _with_power_of(torch.fft.irfft(spectrum, n=size)[..., : waveform.shape[-1]], waveform)

    def response(self, sample_rate: int, random: np.random.Generator) -> Tensor:
        """A random impulse response (R,): the direct sound, a pause of 1 to 20 ms, and the reverberation."""
        seconds = np.exp(random.uniform(*np.log(self.reverberation)))
        ratio = 10 ** (random.uniform(*self.direct) / 20)
        delay = 1 + round(random.uniform(0.001, 0.02) * sample_rate)
        time = np.arange(max(round(seconds * sample_rate), 1)) / sample_rate
        tail = random.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
        tail = _filtered(torch.from_numpy(tail), sample_rate, self.deviation, random).numpy()
        tail /= ratio * np.sqrt(np.square(tail).sum())
        return torch.from_numpy(np.concatenate([[1.0], np.zeros(delay - 1), tail])).float()


class Noise(Effect):
    """Stationary noise.

    Args:
        snr: smallest and largest ratio of signal to noise, in dB.
        slope: smallest and largest slope of the noise's power, in dB per octave; 0 is white, -3 pink, -6 brown.
        probability: share of the crops that it changes.
    """

    def __init__(
        self,
        snr: tuple[float, float] = (15.0, 50.0),
        slope: tuple[float, float] = (-6.0, 0.0),
        probability: UnitInterval = 0.3,
    ):
        super().__init__(probability)
        self.snr, self.slope = _ordered("snr", snr), _ordered("slope", slope)

    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Add noise, the same to all channels."""
        samples = waveform.shape[-1]
        size = next_fast_len(samples, real=True)
        spectrum = np.fft.rfft(random.standard_normal(size))
        octaves = _octaves(size, sample_rate)
        shaped = np.fft.irfft(spectrum * 10 ** (random.uniform(*self.slope) * octaves / 20), n=size)[:samples]
        noise = torch.from_numpy(shaped).to(waveform)
        ratio = 10 ** (random.uniform(*self.snr) / 20)
        return waveform + _with_power_of(noise, waveform) / ratio


class Equalization(Effect):
    """A random frequency response, without delay.

    Args:
        deviation: standard deviation of the gain in each octave, in dB.
        probability: share of the crops that it changes.
    """

    def __init__(self, deviation: NonNegativeFloat = 5.0, probability: UnitInterval = 0.7):
        super().__init__(probability)
        self.deviation = deviation

    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Filter; the power stays the same."""
        return _with_power_of(_filtered(waveform, sample_rate, self.deviation, random), waveform)


class Level(Effect):
    """A random gain; what would exceed full scale is reduced to it.

    Args:
        decibels: smallest and largest gain.
        probability: share of the crops that it changes.
    """

    def __init__(self, decibels: tuple[float, float] = (-20.0, 6.0), probability: UnitInterval = 0.5):
        super().__init__(probability)
        self.decibels = _ordered("decibels", decibels)

    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Multiply by the gain."""
        louder = waveform * 10 ** (random.uniform(*self.decibels) / 20)
        return louder / louder.abs().amax().clamp(min=1.0)


class Polarity(Effect):
    """The other sign, as of a microphone that is wired the other way round."""

    def __init__(self, probability: UnitInterval = 0.5):
        super().__init__(probability)

    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Change the sign."""
        return -waveform


class Delay(Effect):
    """Silence before the sound; what then reaches beyond the end is cut.

    Args:
        seconds: shortest and longest silence.
        probability: share of the crops that it changes.
    """

    def __init__(
        self, seconds: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 0.05), probability: UnitInterval = 0.5
    ):
        super().__init__(probability)
        self.seconds = _ordered("seconds", seconds)

    def apply(self, waveform: Tensor, sample_rate: int, random: np.random.Generator) -> Tensor:
        """Begin later, by whole samples."""
        samples = waveform.shape[-1]
        silence = min(round(random.uniform(*self.seconds) * sample_rate), samples)
        return torch.nn.functional.pad(waveform, (silence, 0))[..., :samples]


class MixingPool:
    """Clips with captions by length, to draw one at random that is no longer than another and has another caption.

    A draw takes logarithmic time, and is the same for any order of the clips.

    Args:
        clips: those without a caption are left out.
    """

    def __init__(self, clips: Iterable[Clip]):
        captioned = (clip for clip in clips if clip.caption)
        self.clips = sorted(captioned, key=lambda clip: (clip.seconds, clip.id))
        self._seconds = np.array([clip.seconds for clip in self.clips])
        places: dict[str, list[int]] = {}
        for place, clip in enumerate(self.clips):
            places.setdefault(clip.caption, []).append(place)
        # Before the clip at places[i] there are places[i] - i clips with other captions.
        self._others_before = {caption: np.array(own) - np.arange(len(own)) for caption, own in places.items()}
        self._places = {caption: np.array(own) for caption, own in places.items()}

    def draw(self, clip: Clip, random: np.random.Generator) -> Clip | None:
        """One of the clips that are no longer than this one and have another caption; None if there are none."""
        fitting = int(np.searchsorted(self._seconds, clip.seconds, side="right"))
        none = np.empty(0, int)
        others = fitting - int(np.searchsorted(self._places.get(clip.caption, none), fitting))
        if not others:
            return None
        number = int(random.integers(others))
        skipped = int(np.searchsorted(self._others_before.get(clip.caption, none), number, side="right"))
        return self.clips[number + skipped]


class Mixing:
    """A second clip at once, of the same data and no longer than the first, with a caption that names both.

    Clips without a caption are left as they are, since no caption would name both sounds.

    Args:
        decibels: smallest and largest level of the second clip, relative to the first.
        probability: share of the crops that it changes.
    """

    def __init__(self, decibels: tuple[float, float] = (-12.0, 0.0), probability: UnitInterval = 0.2):
        self.decibels, self.probability = _ordered("decibels", decibels), probability

    def partner(self, clip: Clip, pool: MixingPool, random: np.random.Generator) -> Clip | None:
        """The clip to add, drawn from the pool; None to add none."""
        if not clip.caption or random.random() >= self.probability:
            return None
        return pool.draw(clip, random)

    def caption(self, clip: Clip, other: Clip, random: np.random.Generator) -> Clip:
        """The clip with a caption that names both, each in a wording at random."""
        both = (clip.draw_caption(random), other.draw_caption(random))
        first, second = both if random.random() < 0.5 else both[::-1]
        return replace(clip, caption=f"{first} and {second}", caption_parts=())

    def __call__(self, waveform: Tensor, other: Tensor, random: np.random.Generator) -> Tensor:
        """Add a second waveform (..., S) to one (..., T >= S), at a level relative to the first S samples."""
        gain = 10 ** (random.uniform(*self.decibels) / 20)
        added = gain * _with_power_of(other, waveform[..., : other.shape[-1]])
        return waveform + torch.nn.functional.pad(added, (0, waveform.shape[-1] - added.shape[-1]))


class Augmentation:
    """The effects of a data set, each of which may be None.

    Args:
        speed, room, noise, equalization, level, polarity, delay: the effects, in the order in which they are applied.
        mixing: before all of them but the speed.
    """

    def __init__(
        self,
        speed: Speed | None = None,
        room: Room | None = None,
        noise: Noise | None = None,
        equalization: Equalization | None = None,
        level: Level | None = None,
        polarity: Polarity | None = None,
        delay: Delay | None = None,
        mixing: Mixing | None = None,
    ):
        self.speed, self.room, self.noise = speed, room, noise
        self.equalization, self.level, self.polarity = equalization, level, polarity
        self.delay, self.mixing = delay, mixing

    def augment_clip(
        self, clip: Clip, pool: MixingPool, sample_rate: int, key: tuple[int, ...]
    ) -> tuple[Clip, Clip | None]:
        """The clip of a draw at its augmented speed and with the caption of the mixture, and the clip to mix in.

        Args:
            clip: as recorded.
            pool: of clips to mix in.
            sample_rate: Hz of the crops.
            key: of the draw's random numbers.
        """
        other = None
        if self.mixing is not None:
            random = np.random.default_rng((*key, _PARTNER))
            if (other := self.mixing.partner(clip, pool, random)) is not None:
                clip = self.mixing.caption(clip, other, random)
        if self.speed is not None:
            clip = self.speed(clip, sample_rate, np.random.default_rng((*key, _SPEED)))
        return clip, other

    def __call__(self, waveform: Tensor, sample_rate: int, key: tuple[int, ...], other: Tensor | None = None) -> Tensor:
        """Apply all effects but the speed to a waveform (..., T).

        Args:
            waveform: of the clip that `augment_clip` returned.
            sample_rate: Hz.
            key: as of `augment_clip`.
            other: waveform (..., S) of the clip to mix in.
        """
        if other is not None and self.mixing is not None:
            other = other[..., : waveform.shape[-1]]
            waveform = self.mixing(waveform, other, np.random.default_rng((*key, _MIXING)))
        effects = (self.room, self.noise, self.equalization, self.level, self.polarity, self.delay)
        for stream, effect in enumerate(effects, _EFFECTS):
            if effect is not None:
                waveform = effect(waveform, sample_rate, np.random.default_rng((*key, stream)))
        return waveform


def _filtered(waveform: Tensor, sample_rate: int, deviation: float, random: np.random.Generator) -> Tensor:
    """Multiply the spectrum of (..., T) by a random gain: normal in dB at every octave, linear in between."""
    edge = round(_EDGE_SECONDS * sample_rate)
    size = next_fast_len(waveform.shape[-1] + 2 * edge, real=True)
    octaves = _octaves(size, sample_rate)
    nodes = np.arange(int(octaves[-1]) + 2)
    gain = np.interp(octaves, nodes, deviation * random.standard_normal(len(nodes)))
    padded = torch.nn.functional.pad(waveform, (edge, 0))
    spectrum = torch.fft.rfft(padded, n=size) * torch.from_numpy(10 ** (gain / 20)).to(waveform)
    return torch.fft.irfft(spectrum, n=size)[..., edge : edge + waveform.shape[-1]]


@lru_cache(maxsize=16)
def _octaves(size: int, sample_rate: int) -> np.ndarray:
    """Octaves above `_LOWEST` of the bins of a real transform of `size` samples; to be read only."""
    return np.log2(np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), _LOWEST) / _LOWEST)


def _with_power_of(changed: Tensor, original: Tensor) -> Tensor:
    """`changed` (..., T) with the mean power of `original` (..., T)."""
    tiny = torch.finfo(changed.dtype).tiny
    return changed * (original.square().mean() / changed.square().mean().clamp(min=tiny)).sqrt()


def _ordered(name: str, bounds: Range) -> Range:
    low, high = bounds
    if not low <= high:
        raise ValueError(f"{name}={list(bounds)} must not fall")
    return low, high
