"""Degraded clips, and how they are restored without a model: the cases of `restoration.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.linear_prediction import interpolate
from audiodiff.audio.observation import Observation
from audiodiff.data.noises import Noises
from audiodiff.pipelines.restorer import Restorer
from audiodiff.training.degradation import colored, slow

RATE = 16000
NOISES = ("recorded", "babble", "pink", "white, modulated")  # one each in turn
GAP_EVERY = 0.4  # seconds
AUDIBLE_DB = -25.0  # below the loudest, of places where gaps are
SPECTRUM: dict = {"n_fft": 512, "hop_length": 128, "window": torch.hann_window(512)}


@dataclass(frozen=True)
class Case:
    """A degraded clip (T,) and what is known of its degradation; `level` and `gaps` are those of its kind."""

    signal: Tensor
    level: float = 0.0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    @property
    def region(self) -> Tensor:
        """(T,) samples whose error counts."""
        inside = torch.ones(len(self.signal), dtype=torch.bool)
        if self.gaps:
            inside[:] = False
            for start, stop in self.gaps:
                inside[start:stop] = True
        return inside


def with_noise(clip: Tensor, decibels: float, number: int, recorded: Noises, voices: Noises) -> Case:
    """The `number`-th clip (T,) with its kind of noise at a ratio in dB."""
    random = torch.Generator().manual_seed(number)
    place, white = float(torch.rand((), generator=random)), torch.randn(2, len(clip), generator=random)
    kind = NOISES[number % len(NOISES)]
    if kind == "recorded":
        noise = recorded.stretch(place, len(clip))
    elif kind == "babble":
        noise = voices.babble(torch.rand(4, generator=random), len(clip))
    else:
        noise = colored(white[0], -3.0, RATE) if kind == "pink" else white[0] * slow(white[1], 3.0, RATE).exp()
    return Case(clip + noise * clip.norm() / noise.norm() * 10 ** (-decibels / 20))


def clipped(clip: Tensor, share: float) -> Case:
    """A clip (T,) cut off at a share of its peak."""
    level = share * float(clip.abs().max())
    return Case(clip.clamp(-level, level), level=level)


def with_gaps(clip: Tensor, seconds: float, number: int) -> Case:
    """A clip (T,) with a gap in each `GAP_EVERY`, where it is audible."""
    random, length = np.random.default_rng(number), round(seconds * RATE)
    power = torch.nn.functional.avg_pool1d(clip.square()[None, None], length, 1)[0, 0]
    audible = (power > power.max() * 10 ** (AUDIBLE_DB / 10)).nonzero()[:, 0].numpy()
    broken, gaps = clip.clone(), []
    for begin in range(RATE // 10, len(clip) - RATE // 10 - length, round(GAP_EVERY * RATE)):
        places = audible[(audible >= begin) & (audible < min(begin + RATE // 5, len(clip) - RATE // 10 - length))]
        if len(places):
            start = int(random.choice(places))
            gaps.append((start, start + length))
            broken[start : start + length] = 0
    return Case(broken, gaps=gaps)


def cubic(case: Case) -> Tensor:
    """Cubic interpolation of clipped samples, beyond the clip level."""
    known = (case.signal.abs() < case.level).numpy()
    place = np.arange(len(known))
    filled = CubicSpline(place[known], case.signal.numpy()[known])(place)
    observation = Observation.clipped(case.signal[None], torch.tensor([case.level]))
    return observation.complete(torch.from_numpy(filled).float()[None] - case.signal)[0]


def linear_prediction(case: Case) -> Tensor:
    """Extrapolation of both sides, cross-faded."""
    return interpolate(case.signal, case.gaps, RATE)


def gating(stationary: bool) -> Callable[[Case], Tensor]:
    """Spectral gating of the package noisereduce (Sainburg, MIT), with its defaults."""

    def reduce(case: Case) -> Tensor:
        import noisereduce

        reduced = noisereduce.reduce_noise(case.signal.numpy(), RATE, stationary=stationary)
        return torch.from_numpy(np.asarray(reduced, np.float32))

    return reduce


def wiener(case: Case) -> Tensor:
    """Wiener filter with a decision-directed a-priori ratio (Ephraim and Malah 1984) over a noise floor of 10 %.

    The floor of each band is the tenth part of the frames' powers, from which the mean of exponentially distributed
    ones follows.
    """
    spectrum = torch.stft(case.signal, **SPECTRUM, return_complex=True)
    power = spectrum.abs().square()
    floor = power.quantile(0.1, -1) / -np.log(0.9) + 1e-10
    ratio, gains = torch.ones(len(floor)), []
    for frame in power.unbind(-1):
        ratio = 0.98 * ratio + 0.02 * (frame / floor - 1).clamp(min=0)
        gains.append((ratio / (1 + ratio)).clamp(min=0.1))
        ratio = gains[-1].square() * frame / floor
    return torch.istft(spectrum * torch.stack(gains, -1), **SPECTRUM, length=len(case.signal))


def network(restorer: Restorer, kind: str) -> Callable[[Case], Tensor]:
    """A restorer, with the kind of degradation and the places of its gaps."""

    def restore(case: Case) -> Tensor:
        options: dict = {"denoise": True}
        if kind == "clipping":
            options = {"declip": True}
        elif kind == "gaps":
            options = {"fill": [(start / RATE, stop / RATE) for start, stop in case.gaps]}
        return restorer.restore(Audio(case.signal, RATE), **options).samples

    return restore


BASELINES: dict[str, dict[str, Callable[[Case], Tensor]]] = {
    "noise": {
        "spectral gating": gating(stationary=False),
        "spectral gating, stationary": gating(stationary=True),
        "Wiener filter": wiener,
    },
    "clipping": {"cubic interpolation": cubic},
    "gaps": {"linear prediction": linear_prediction},
}
