"""Character of a sound: words such as "short", "bright" or "with a long tail", measured from its samples.

Names seldom say how a sound is, so a caption gets these words in addition. Drawn wordings mention them at random;
canonical text does not have them, because it says what a sound is. Each rule is a threshold that some tenth of recorded
sounds passes, on

- the envelope, the power in frames of 10 ms: from the first to the last frame within 20 dB of the loudest ("short",
  "long"), and from the loudest frame to the last within 40 dB of it ("with a long tail", where the 20 dB end early);
- the power spectrum: the frequencies below which are a half ("deep", "bright") and 85 % ("muffled") of the power;
- spectral flatness, geometric over arithmetic mean, averaged by power: 0 for a tone and about 0.6 for white noise
  ("noisy").
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_FRAME_SECONDS = 0.01
_WINDOW_SECONDS = 0.046
_BAND = (60.0, 11000.0)  # Hz, of flatness
_FLOOR = 1e-12  # of power, relative to the loudest
_OPPOSITES = ({"short", "long", "with a long tail"}, {"deep", "high", "low", "bright", "muffled"}, {"noisy"})


@dataclass(frozen=True)
class Measurements:
    """Measurements of a sound.

    Attributes:
        sustain: seconds from the first to the last frame within 20 dB of the loudest.
        decay: seconds from the loudest frame to the last within 40 dB of it.
        median: Hz, half of the power is below.
        rolloff: Hz, 85 % of the power is below.
        flatness: 0 to 1.
    """

    sustain: float
    decay: float
    median: float
    rolloff: float
    flatness: float


def character_of(samples: Tensor, sample_rate: int, said: Iterable[str] = ()) -> tuple[str, ...]:
    """Words that are true of a sound.

    Args:
        samples: (T,) or (C, T), full scale 1.
        sample_rate: Hz.
        said: words of its caption, which are neither repeated nor contradicted.

    Returns:
        Adjectives, and phrases that begin with "with"; () for silence.
    """
    mono = samples.double() if samples.ndim == 1 else samples.double().mean(0)
    if not len(mono) or not float(mono.abs().max()):
        return ()
    found, said = measure(mono, sample_rate), {word.lower() for words in said for word in (words, *words.split())}
    rules = {
        "short": found.sustain <= 0.15 and found.decay <= 0.3,
        "long": found.sustain >= 2.2,
        "with a long tail": found.decay >= 1 and found.sustain <= 0.6 * found.decay,
        "deep": found.median <= 100,
        "muffled": found.median > 100 and found.rolloff <= 300,
        "bright": found.median >= 3000,
        "noisy": found.flatness >= 0.1,
    }
    free = {word for group in _OPPOSITES if not group & said for word in group}
    return tuple(word for word, holds in rules.items() if holds and word in free)


def measure(mono: Tensor, sample_rate: int) -> Measurements:
    """Measure samples (T,) that are not silent."""
    hop = max(round(_FRAME_SECONDS * sample_rate), 1)
    power = _framed(mono, hop, hop).square().mean(1)
    level = 10 * torch.log10((power / power.max()).clamp(min=_FLOOR))
    loudest, within = int(level.argmax()), [torch.nonzero(level >= -decibels).flatten() for decibels in (20, 40)]
    size = max(round(_WINDOW_SECONDS * sample_rate), 2)
    spectra = torch.fft.rfft(_framed(mono, size, size // 2) * torch.hann_window(size, dtype=mono.dtype)).abs().square()
    frequencies = torch.fft.rfftfreq(size, 1 / sample_rate, dtype=mono.dtype)
    share = spectra.sum(0).cumsum(0) / spectra.sum()
    band = spectra[:, (frequencies > _BAND[0]) & (frequencies < _BAND[1])] + _FLOOR * spectra.max()
    flatness = band.log().mean(1).exp() / band.mean(1)
    loudness = spectra.sum(1)
    return Measurements(
        sustain=(int(within[0][-1] - within[0][0]) + 1) * hop / sample_rate,
        decay=int(within[1][-1] - loudest) * hop / sample_rate,
        median=float(frequencies[int((share < 0.5).sum())]),
        rolloff=float(frequencies[int((share < 0.85).sum())]),
        flatness=float((flatness * loudness).sum() / loudness.sum()),
    )


def _framed(mono: Tensor, size: int, hop: int) -> Tensor:
    """Frames (F, size); the end is padded with zeros to a whole frame."""
    short = max(size - len(mono), -(len(mono) - size) % hop)
    return torch.nn.functional.pad(mono, (0, short)).unfold(0, size, hop)
