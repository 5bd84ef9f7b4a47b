"""Which spec was a mel made with, when nothing but its numbers is known?

Every guess, a published convention (`mel_convention.CONVENTIONS`) or a common combination that nobody published, is
judged by three things: the range (numbers below its floor or beyond its clipping refute it; a smallest number that
repeats is a floor, and its logarithm gives the base away), the texture (`mel_texture`: what is left after undoing the
guess must look like speech seen through its bank), and how common it is. The figures of the texture follow, given the
right guess, about a multivariate Student distribution, whose tails allow for voices and rooms unlike those it was
fitted to. Bayes' rule makes shares of belief of these, and a field's belief is the sum over all guesses that agree.

Some things no numbers tell: padding and the place of the frames (`center`) leave no mark but half a frame's delay;
decibels of magnitudes and of powers differ by hardly a tenth of a decibel in shape; where no silence reaches the floor,
the floor is unknown. Guesses that differ in such things alone share their belief and are reported as tied.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import numpy as np

from audiodiff.audio.mel import PRESETS, MelSpec, filterbank
from audiodiff.audio.mel.convention import CONVENTIONS, Convention, Scaling
from audiodiff.audio.mel.texture import FIGURES, Texture, bank, log_unit
from audiodiff.errors import UserError

COMMON_BANDS = (40, 64, 72, 80, 96, 100, 120, 128, 160, 192, 229, 256)
FEWEST_FRAMES = 16
_FOUND, _LIKELY = 0.98, 0.7
# What the fields of a spec are called that leave no mark in the numbers.
_MARKLESS = ("center", "padding", "power_offset")
_CLOCK = ("sample_rate", "n_fft", "win_length", "hop_length")
_BANK = ("f_min", "f_max", "mel_scale", "norm")
_UNPUBLISHED = math.log(1e-3)  # of each combination that nobody published
_ODD_FLOOR = math.log(1e-4)  # of a floor that is no power of ten
_FREEDOM = 8.0  # of the Student distribution

# Ranges that mels were squeezed into by more than one project; the log-mel is in decibels, but for the last.
SQUEEZED = {
    "none": Scaling(),
    "0 to 1, from -100 to 0 dB": Scaling(0.01, 1.0, 0.0, 1.0),
    "0 to 1, from -80 to 20 dB": Scaling(0.01, 0.8, 0.0, 1.0),
    "-4 to 4, from -80 to 20 dB": Scaling(0.08, 2.4, -4.0, 4.0),
    "dB below the loudest, at most 80": Scaling(1.0, None, high=0.0, span=80.0),
    "(log10 + 4) / 4, at most 2 below the loudest": Scaling(0.25, 1.0, span=2.0),
}


class Evidence(NamedTuple):
    """What is known of one field: its value, how surely, and from what."""

    state: Literal["found", "likely", "cannot be told"]
    value: Any
    reason: str


class Guess(NamedTuple):
    """One explanation of the numbers; `name` is empty where nobody published it."""

    name: str
    spec: MelSpec
    scaling: Scaling


class Rank(NamedTuple):
    """Tied guesses, their common belief in [0, 1], and how they fit: in words, and as mean squared deviation.

    The latter is about 1 for speech; beliefs are relative, and say little where even the best guess lies far off.
    """

    names: tuple[str, ...]
    guess: Guess
    belief: float
    reason: str
    distance: float


@dataclass(frozen=True)
class Diagnosis:
    """What the numbers of one mel show.

    Attributes:
        stored: the numbers as bands x frames, (M, F), float64.
        fields: evidence by field, those of `MelSpec` and "layout", "scaling".
        ranking: guesses from the likeliest to the least, ties together.
    """

    stored: np.ndarray
    fields: dict[str, Evidence]
    ranking: tuple[Rank, ...]


def diagnose(array: np.ndarray) -> Diagnosis:
    """Judge a mel by its numbers alone.

    Args:
        array: (M, F), (F, M), or one of these with a first axis of length 1.

    Raises:
        UserError: not one mel, too short, constant, or not finite.
    """
    array = _checked(array)
    turned = array.T
    common = [axis for axis in (0, 1) if array.shape[axis] in COMMON_BANDS]
    if len(common) == 1:
        stored = array if common[0] == 0 else turned
        state, reason = "found", f"{len(stored)} is a usual number of bands, {stored.shape[1]} is none"
        return _judged(stored, Evidence(state, _layout(common[0]), reason))
    sides = [(_best(x), axis, x) for axis, x in enumerate((array, turned)) if x.shape[1] >= FEWEST_FRAMES]
    sides = [side for side in sides if side[0] > -math.inf]
    if not sides:
        raise UserError("mel", f"neither axis of {array.shape[0]} x {array.shape[1]} can be bands")
    best, axis, stored = max(sides, key=lambda side: side[0])
    margin = best - min(side[0] for side in sides) if len(sides) > 1 else math.inf
    state = "found" if margin > 10 else "likely" if margin > 2 else "cannot be told"
    return _judged(stored, Evidence(state, _layout(axis), "read this way the numbers look more like speech"))


def _layout(axis: int) -> str:
    return ("bands x frames", "frames x bands")[axis]


def _checked(array: np.ndarray) -> np.ndarray:
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    shape = " x ".join(map(str, array.shape))
    if array.ndim != 2:
        raise UserError("mel", f"has shape {shape or 'of a single number'}", "expected one array of bands x frames")
    if array.size == 0 or max(array.shape) < FEWEST_FRAMES:
        raise UserError("mel", f"has {shape} numbers", f"{FEWEST_FRAMES} frames are needed to tell anything")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UserError("mel", "holds NaN or infinite values")
    if np.ptp(array) == 0:
        raise UserError("mel", "is the same number everywhere", "nothing can be told from silence")
    return array


def detect_floor(stored: np.ndarray) -> float | None:
    """The smallest number, if so many cells have it that it must be a floor."""
    lowest = stored.min()
    repeated = (stored <= lowest + 1e-6 * max(1.0, abs(lowest))).sum()
    return float(lowest) if repeated > max(3, 1e-4 * stored.size) else None


@lru_cache(maxsize=64)
def guesses(bands: int) -> tuple[Guess, ...]:
    """Everything that is considered for this number of bands."""
    published = [Guess(c.name, c.spec, c.scaling) for c in CONVENTIONS.values() if c.spec.n_mels == bands]
    return (*published, *_unpublished(bands, published))


def _unpublished(bands: int, published: list[Guess]) -> Iterator[Guess]:
    banks = {_plain(guess.spec) for guess in published}
    for sample_rate, n_fft in ((16000, 1024), (16000, 512), (22050, 1024), (24000, 1024), (44100, 2048)):
        for f_max in {8000.0, sample_rate / 2}:
            for mel_scale, norm in (("slaney", "slaney"), ("htk", None), ("slaney", None)):
                changes = {"sample_rate": sample_rate, "n_fft": n_fft, "win_length": n_fft, "hop_length": n_fft // 4}
                kind = {"n_mels": bands, "f_max": f_max, "mel_scale": mel_scale, "norm": norm}
                banks.add(replace(PRESETS["speech_16k"], **changes, **kind))
    known = {(guess.spec, guess.scaling) for guess in published}
    for spec in sorted(banks, key=repr):
        try:
            filterbank(spec)
        except UserError:
            continue
        for power in (1, 2):
            for label, scaling in SQUEEZED.items():
                bases = ("e", "10", "db") if label == "none" else ("10",) if "log10" in label else ("db",)
                for base in bases:
                    guess = Guess("", replace(spec, power=power, log_base=base, log_floor=1e-30), scaling)
                    if (guess.spec, scaling) not in known:
                        yield guess


def _plain(spec: MelSpec) -> MelSpec:
    """The spec with everything but its clock and bank as in the first preset."""
    plain = PRESETS["speech_16k"]
    return replace(plain, **{name: getattr(spec, name) for name in (*_CLOCK, *_BANK, "n_mels")})


class _Speech:
    """How far figures of a right guess lie from what is expected: a Student distribution, fitted to recordings."""

    def __init__(self):
        fitted = json.loads((files("audiodiff.audio.mel") / "doctor.json").read_text(encoding="utf-8"))
        if tuple(fitted["figures"]) != FIGURES:
            raise ValueError("doctor.json was fitted to other figures")
        self.weights, self.covariance = np.array(fitted["weights"]), np.array(fitted["covariance"])
        self.deviation = np.sqrt(np.diag(self.covariance))
        self._factors: dict[bytes, np.ndarray] = {}

    def misses(self, figures: np.ndarray, spec: MelSpec) -> np.ndarray:
        """Figures less what is expected of them under this spec."""
        return figures - self.weights @ bank(spec).covariates

    def log_density(self, misses: np.ndarray) -> float:
        """Up to a constant."""
        return -0.5 * (_FREEDOM + len(misses)) * math.log1p(self.distance(misses) / _FREEDOM)

    def distance(self, misses: np.ndarray) -> float:
        """Squared, in deviations; what is missing counts as it does on average."""
        known = np.isfinite(misses)
        if known.tobytes() not in self._factors:
            self._factors[known.tobytes()] = np.linalg.inv(self.covariance[np.ix_(known, known)])
        inverse, count = self._factors[known.tobytes()], len(misses)
        return float(misses[known] @ inverse @ misses[known] + (count - known.sum()))


@lru_cache(maxsize=1)
def _speech() -> _Speech:
    return _Speech()


def _lowest(guess: Guess, stored: np.ndarray) -> float:
    """The smallest number that a guess allows."""
    scaling, spec = guess.scaling, guess.spec
    bounds = [scaling.low]
    if scaling.shift is not None:
        bounds.append(scaling.gain * math.log(spec.log_floor) * log_unit(spec) + scaling.shift)
    if scaling.span is not None:
        bounds.append(float(stored.max()) - scaling.span)
    return max(bounds)


def _linear(guess: Guess, number: float) -> float:
    """The linear mel that a stored number stands for."""
    spec, scaling = guess.spec, guess.scaling
    exponent = (number - (scaling.shift or 0.0)) / scaling.gain / log_unit(spec)
    return math.exp(max(-700.0, min(700.0, exponent)))


def _range(guess: Guess, stored: np.ndarray, floor: float | None) -> float:
    """Logarithm of how well the range fits: 0, or a penalty, or minus infinity where it refutes the guess."""
    slack, lowest = 2e-3 * max(1.0, abs(float(stored.min()))), _lowest(guess, stored)
    if stored.max() > guess.scaling.high + slack or stored.min() < lowest - slack:
        return -math.inf
    if guess.scaling.shift is None and abs(stored.max() - guess.scaling.high) > slack:
        return -math.inf
    if floor is None or abs(floor - lowest) <= slack:
        return 0.0
    if guess.name:
        return -math.inf
    decades = math.log10(_linear(guess, floor))
    return 0.0 if abs(decades - round(decades)) < 2e-3 and -12 <= decades <= -1 else _ODD_FLOOR


def _beliefs(stored: np.ndarray) -> tuple[list[Guess], np.ndarray, dict[int, np.ndarray]]:
    """Guesses that the range allows, the logarithms of their beliefs (not normalized), and their misses."""
    floor, speech, misses = detect_floor(stored), _speech(), {}
    texture = Texture(stored, floor)
    kept, logs = [], []
    for guess in guesses(len(stored)):
        fit = _range(guess, stored, floor)
        if fit == -math.inf:
            continue
        miss = speech.misses(texture.figures(guess.spec, guess.scaling), guess.spec)
        misses[len(kept)] = miss
        kept.append(guess)
        logs.append(fit + (0.0 if guess.name else _UNPUBLISHED) + speech.log_density(miss))
    return kept, np.array(logs), misses


def _best(stored: np.ndarray) -> float:
    _, logs, _ = _beliefs(stored)
    return float(logs.max()) if len(logs) else -math.inf


def _judged(stored: np.ndarray, layout: Evidence) -> Diagnosis:
    if stored.shape[1] < FEWEST_FRAMES:
        raise UserError("mel", f"has {stored.shape[1]} frames", f"{FEWEST_FRAMES} are needed to tell anything")
    kept, logs, misses = _beliefs(stored)
    fields = {"layout": layout, "n_mels": Evidence(layout.state, len(stored), "the length of that axis")}
    if not kept:
        return Diagnosis(stored, {**fields, **_unknown(stored)}, ())
    beliefs = np.exp(logs - logs.max())
    beliefs /= beliefs.sum()
    return Diagnosis(stored, {**fields, **_marginals(stored, kept, beliefs)}, _ranking(kept, beliefs, misses))


def _unknown(stored: np.ndarray) -> dict[str, Evidence]:
    span = f"they lie from {stored.min():.4g} to {stored.max():.4g}"
    return {"scaling": Evidence("cannot be told", None, f"no known way of storing a mel gives these numbers: {span}")}


def _ranking(kept: list[Guess], beliefs: np.ndarray, misses: dict[int, np.ndarray]) -> tuple[Rank, ...]:
    tied = defaultdict(list)
    for i, guess in enumerate(kept):
        tied[round(float(np.log(max(beliefs[i], 1e-300))), 6) if guess.name else i + 0.5].append(i)
    ranks = [
        Rank(
            tuple(kept[i].name for i in group),
            kept[group[0]],
            float(beliefs[group].sum()),
            _described(misses[group[0]]),
            _speech().distance(misses[group[0]]) / len(FIGURES),
        )
        for group in tied.values()
    ]
    return tuple(sorted(ranks, key=lambda rank: -rank.belief))


def _described(misses: np.ndarray) -> str:
    """The figures that lie furthest from where they should, or that none does."""
    off = misses / _speech().deviation
    worst = [i for i in np.argsort(-np.abs(np.nan_to_num(off)))[:2] if abs(off[i]) > 2]
    if not worst:
        return "everything is where speech has it"
    return ", ".join(f"{FIGURES[i].replace('_', ' ')} {off[i]:+.1f} deviations off" for i in worst)


def _marginals(stored: np.ndarray, kept: list[Guess], beliefs: np.ndarray) -> dict[str, Evidence]:
    floor = detect_floor(stored)
    reached = f"the smallest number, {stored.min():.5g}, is there {int((stored <= stored.min() + 1e-6).sum())} times"
    evidence = {}
    for name in ("scaling", "log_base", "power", "log_floor", *_CLOCK, *_BANK, *_MARKLESS):
        shares = defaultdict(float)
        for guess, belief in zip(kept, beliefs, strict=True):
            shares[_value(name, guess, floor)] += belief
        value, share = max(shares.items(), key=lambda item: item[1])
        state = "found" if share >= _FOUND else "likely" if share >= _LIKELY else "cannot be told"
        if name in _CLOCK + _BANK + _MARKLESS and state == "found":
            state = "likely"  # the guesses are a list, and the truth may not be on it
        if name in _MARKLESS:
            reason = f"leaves no mark; that of the conventions which fit ({share:.0%})"
        elif name == "log_floor" and floor is None:
            state = "likely" if state != "cannot be told" and value is not None else "cannot be told"
            reason = "no cell reaches it"
        elif name == "log_floor" and value is None:
            state, reason = "cannot be told", "the numbers were cut at a distance below the loudest"
        elif name in ("log_base", "log_floor", "scaling") and floor is not None:
            reason = f"{reached}; belief {share:.0%}"
        else:
            others = sorted((v for v in shares if v != value and shares[v] > 0.05), key=lambda v: -shares[v])
            also = f"; else {', '.join(f'{v} ({shares[v]:.0%})' for v in others)}" if others else ""
            reason = f"texture and level: belief {share:.0%}{also}"
        evidence[name] = Evidence(state, value, reason)
    return evidence


def _value(name: str, guess: Guess, floor: float | None) -> Any:
    if name == "scaling":
        return scaling_name(guess.scaling)
    if name == "log_floor":
        if guess.scaling.span is not None:
            return None  # the cut below the loudest cell hides it
        linear = guess.spec.log_floor if floor is None else _linear(guess, floor)
        return None if linear < 1e-29 else float(f"{linear:.3g}")
    return getattr(guess.spec, name)


def scaling_name(scaling: Scaling) -> str:
    """A scaling in words: that of `SQUEEZED`, of the convention that has it, or its numbers."""
    for label, known in SQUEEZED.items():
        if known == scaling:
            return label
    owners = [c.name for c in CONVENTIONS.values() if c.scaling == scaling]
    return f"that of {owners[0]}" if owners else f"{scaling.gain:g} * mel + {scaling.shift:g}"


def convention(name: str) -> Convention:
    """The published convention of this name.

    Raises:
        UserError: there is none; the message lists the names.
    """
    if name not in CONVENTIONS:
        raise UserError(f"mel spec {name!r}", "there is none of this name", f"known are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
