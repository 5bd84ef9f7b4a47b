"""Diagnosis of a mel: the most probable specs, from its numbers alone.

Every guess, a published convention (`convention.CONVENTIONS`) or a common unpublished combination, gets a probability
by Bayes' rule from three things: the range (numbers below its floor or above its clipping level exclude it; a smallest
number that repeats is a floor, whose logarithm reveals the base), the texture (`texture`: after undoing the guess, the
rest must look like speech seen through its filter bank), and a prior. Given the right guess, the features of the
texture approximately follow a multivariate Student distribution, whose tails allow for voices and rooms unlike those
that it was fitted to. The probability of a field's value is the sum over all guesses that have it.

Some fields cannot be inferred: padding and the position of the frames (`center`) have no effect but half a frame's
delay; decibels of magnitudes and of powers differ by hardly a tenth of a decibel in shape; if no silence reaches the
floor, the floor is unknown. Guesses that differ only in such fields share their probability and are reported as tied.
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
from audiodiff.audio.mel.texture import FEATURES, Texture, filterbank_theory, log_unit
from audiodiff.errors import UserError

COMMON_BANDS = (40, 64, 72, 80, 96, 100, 120, 128, 160, 192, 229, 256)
MIN_FRAMES = 16
_FOUND, _LIKELY = 0.98, 0.7
# Fields of a spec without an effect on the numbers.
_UNOBSERVABLE = ("center", "padding", "power_offset")
_FRAMING = ("sample_rate", "n_fft", "win_length", "hop_length")
_BANK = ("f_min", "f_max", "mel_scale", "norm")
_UNPUBLISHED = math.log(1e-3)  # log prior of each unpublished combination
_ODD_FLOOR = math.log(1e-4)  # log prior of a floor that is not a power of ten
_FREEDOM = 8.0  # degrees of freedom of the Student distribution
_State = Literal["found", "likely", "unknown"]

# Scalings used by more than one project; the log-mel is in decibels, except for the last.
COMMON_SCALINGS = {
    "none": Scaling(),
    "0 to 1, from -100 to 0 dB": Scaling(0.01, 1.0, 0.0, 1.0),
    "0 to 1, from -80 to 20 dB": Scaling(0.01, 0.8, 0.0, 1.0),
    "-4 to 4, from -80 to 20 dB": Scaling(0.08, 2.4, -4.0, 4.0),
    "dB below the loudest, at most 80": Scaling(1.0, None, high=0.0, dynamic_range=80.0),
    "(log10 + 4) / 4, at most 2 below the loudest": Scaling(0.25, 1.0, dynamic_range=2.0),
}


class Evidence(NamedTuple):
    """Inferred value of one field, its certainty and the reason."""

    state: _State
    value: Any
    reason: str


class Guess(NamedTuple):
    """One explanation of the numbers; `name` is "" if it is unpublished."""

    name: str
    spec: MelSpec
    scaling: Scaling


class Rank(NamedTuple):
    """Tied guesses and their total probability, with their fit in words and as a mean squared deviation.

    The deviation is about 1 for speech. Probabilities are relative: they mean little if even the best guess fits badly.
    """

    names: tuple[str, ...]
    guess: Guess
    probability: float
    reason: str
    distance: float


@dataclass(frozen=True)
class Diagnosis:
    """Result of a diagnosis.

    Attributes:
        stored: the numbers as bands x frames, (M, F), float64.
        fields: evidence by field: those of `MelSpec`, "layout" and "scaling".
        ranking: guesses by decreasing probability, ties together.
    """

    stored: np.ndarray
    fields: dict[str, Evidence]
    ranking: tuple[Rank, ...]


def diagnose(array: np.ndarray) -> Diagnosis:
    """Infer the spec of a mel from its numbers.

    Args:
        array: (M, F), (F, M), or one of these with a first axis of length 1.

    Raises:
        UserError: another shape, too short, constant, or not finite.
    """
    array = _checked(array)
    common = [axis for axis in (0, 1) if array.shape[axis] in COMMON_BANDS]
    if len(common) == 1:
        stored = array if common[0] == 0 else array.T
        reason = f"{len(stored)} is a common number of bands, {stored.shape[1]} is not"
        return _diagnose(stored, Evidence("found", _layout(common[0]), reason))
    layouts = [(_best(x), axis, x) for axis, x in enumerate((array, array.T)) if x.shape[1] >= MIN_FRAMES]
    layouts = [layout for layout in layouts if layout[0] > -math.inf]
    if not layouts:
        raise UserError("mel", f"neither axis of {array.shape[0]} x {array.shape[1]} can be bands", "check its shape")
    best, axis, stored = max(layouts, key=lambda layout: layout[0])
    margin = best - min(layout[0] for layout in layouts) if len(layouts) > 1 else math.inf
    state: _State = "found" if margin > 10 else "likely" if margin > 2 else "unknown"
    return _diagnose(stored, Evidence(state, _layout(axis), "in this layout the numbers look more like speech"))


def _layout(axis: int) -> str:
    return ("bands x frames", "frames x bands")[axis]


def _checked(array: np.ndarray) -> np.ndarray:
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    shape = " x ".join(map(str, array.shape))
    if array.ndim != 2:
        raise UserError("mel", f"has shape {shape or 'of a single number'}", "save one array of bands x frames")
    if array.size == 0 or max(array.shape) < MIN_FRAMES:
        raise UserError("mel", f"has {shape} numbers", f"give {MIN_FRAMES} frames or more")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UserError("mel", "holds NaN or infinite values", "compute it again")
    if np.ptp(array) == 0:
        raise UserError("mel", "is constant", "give one that is not silent")
    return array


def detect_floor(stored: np.ndarray) -> float | None:
    """The smallest number if enough cells have it for a floor, else None."""
    lowest = stored.min()
    repeated = (stored <= lowest + 1e-6 * max(1.0, abs(lowest))).sum()
    return float(lowest) if repeated > max(3, 1e-4 * stored.size) else None


@lru_cache(maxsize=64)
def guesses(bands: int) -> tuple[Guess, ...]:
    """All guesses for a number of bands."""
    published = [Guess(c.name, c.spec, c.scaling) for c in CONVENTIONS.values() if c.spec.n_mels == bands]
    return (*published, *_unpublished(bands, published))


def _unpublished(bands: int, published: list[Guess]) -> Iterator[Guess]:
    banks = {_plain(guess.spec) for guess in published}
    for sample_rate, n_fft in ((16000, 1024), (16000, 512), (22050, 1024), (24000, 1024), (44100, 2048)):
        for f_max in {8000.0, sample_rate / 2}:
            for mel_scale, norm in (("slaney", "slaney"), ("htk", None), ("slaney", None)):
                spec = replace(
                    PRESETS["speech_16k"],
                    sample_rate=sample_rate,
                    n_fft=n_fft,
                    win_length=n_fft,
                    hop_length=n_fft // 4,
                    n_mels=bands,
                    f_max=f_max,
                    mel_scale=mel_scale,
                    norm=norm,
                )
                banks.add(spec)
    known = {(guess.spec, guess.scaling) for guess in published}
    for spec in sorted(banks, key=repr):
        try:
            filterbank(spec)
        except UserError:
            continue
        for power in (1, 2):
            for label, scaling in COMMON_SCALINGS.items():
                bases = ("e", "10", "db") if label == "none" else ("10",) if "log10" in label else ("db",)
                for base in bases:
                    guess = Guess("", replace(spec, power=power, log_base=base, log_floor=1e-30), scaling)
                    if (guess.spec, scaling) not in known:
                        yield guess


def _plain(spec: MelSpec) -> MelSpec:
    """The spec with all fields but its framing and filter bank as in the first preset."""
    plain = PRESETS["speech_16k"]
    return replace(plain, **{name: getattr(spec, name) for name in (*_FRAMING, *_BANK, "n_mels")})


class _Speech:
    """Distribution of the features under the right guess: a Student distribution fitted to recordings."""

    def __init__(self):
        fitted = json.loads((files("audiodiff.audio.mel") / "doctor.json").read_text(encoding="utf-8"))
        if tuple(fitted["features"]) != FEATURES:
            raise ValueError("doctor.json was fitted to other features")
        self.weights, self.covariance = np.array(fitted["weights"]), np.array(fitted["covariance"])
        self.deviation = np.sqrt(np.diag(self.covariance))
        self._factors: dict[bytes, np.ndarray] = {}

    def residuals(self, features: np.ndarray, spec: MelSpec) -> np.ndarray:
        """Features minus their expectation under a spec."""
        return features - self.weights @ filterbank_theory(spec).covariates

    def log_density(self, residuals: np.ndarray) -> float:
        """Log density of a hypothesis, up to a constant."""
        return -0.5 * (_FREEDOM + len(residuals)) * math.log1p(self.distance(residuals) / _FREEDOM)

    def distance(self, residuals: np.ndarray) -> float:
        """Squared Mahalanobis distance; a missing feature counts 1, its expectation."""
        known = np.isfinite(residuals)
        if known.tobytes() not in self._factors:
            self._factors[known.tobytes()] = np.linalg.inv(self.covariance[np.ix_(known, known)])
        inverse, count = self._factors[known.tobytes()], len(residuals)
        return float(residuals[known] @ inverse @ residuals[known] + (count - known.sum()))


@lru_cache(maxsize=1)
def _speech() -> _Speech:
    return _Speech()


def _lowest(guess: Guess, stored: np.ndarray) -> float:
    """Smallest number possible under a guess."""
    scaling, spec = guess.scaling, guess.spec
    bounds = [scaling.low]
    if scaling.shift is not None:
        bounds.append(scaling.gain * math.log(spec.log_floor) * log_unit(spec) + scaling.shift)
    if scaling.dynamic_range is not None:
        bounds.append(float(stored.max()) - scaling.dynamic_range)
    return max(bounds)


def _linear(guess: Guess, number: float) -> float:
    """Linear mel of a stored number under a guess."""
    spec, scaling = guess.spec, guess.scaling
    exponent = (number - (scaling.shift or 0.0)) / scaling.gain / log_unit(spec)
    return math.exp(max(-700.0, min(700.0, exponent)))


def _range(guess: Guess, stored: np.ndarray, floor: float | None) -> float:
    """Log likelihood of the range: 0, a penalty, or minus infinity if it excludes the guess."""
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


def _probabilities(stored: np.ndarray) -> tuple[list[Guess], np.ndarray, dict[int, np.ndarray]]:
    """Guesses that the range allows, their log probabilities (not normalized) and residuals."""
    floor, speech, residuals = detect_floor(stored), _speech(), {}
    texture = Texture(stored, floor)
    candidates: list[Guess] = []
    logs = []
    for guess in guesses(len(stored)):
        fit = _range(guess, stored, floor)
        if fit == -math.inf:
            continue
        miss = speech.residuals(texture.features(guess.spec, guess.scaling), guess.spec)
        residuals[len(candidates)] = miss
        candidates.append(guess)
        logs.append(fit + (0.0 if guess.name else _UNPUBLISHED) + speech.log_density(miss))
    return candidates, np.array(logs), residuals


def _best(stored: np.ndarray) -> float:
    _, logs, _ = _probabilities(stored)
    return float(logs.max()) if len(logs) else -math.inf


def _diagnose(stored: np.ndarray, layout: Evidence) -> Diagnosis:
    if stored.shape[1] < MIN_FRAMES:
        raise UserError("mel", f"has {stored.shape[1]} frames", f"give {MIN_FRAMES} or more")
    candidates, logs, residuals = _probabilities(stored)
    fields = {"layout": layout, "n_mels": Evidence(layout.state, len(stored), "the length of that axis")}
    if not candidates:
        return Diagnosis(stored, {**fields, **_unknown(stored)}, ())
    probabilities = np.exp(logs - logs.max())
    probabilities /= probabilities.sum()
    return Diagnosis(
        stored,
        {**fields, **_marginals(stored, candidates, probabilities)},
        _ranking(candidates, probabilities, residuals),
    )


def _unknown(stored: np.ndarray) -> dict[str, Evidence]:
    extent = f"{stored.min():.4g} to {stored.max():.4g}"
    return {"scaling": Evidence("unknown", None, f"no known scaling gives numbers from {extent}")}


def _ranking(candidates: list[Guess], probabilities: np.ndarray, residuals: dict[int, np.ndarray]) -> tuple[Rank, ...]:
    tied = defaultdict(list)
    for i, guess in enumerate(candidates):
        tied[round(float(np.log(max(probabilities[i], 1e-300))), 6) if guess.name else i + 0.5].append(i)
    ranks = [
        Rank(
            tuple(candidates[i].name for i in group),
            candidates[group[0]],
            float(probabilities[group].sum()),
            _described(residuals[group[0]]),
            _speech().distance(residuals[group[0]]) / len(FEATURES),
        )
        for group in tied.values()
    ]
    return tuple(sorted(ranks, key=lambda rank: -rank.probability))


def _described(residuals: np.ndarray) -> str:
    """The features that deviate most from speech, in words."""
    off = residuals / _speech().deviation
    worst = [i for i in np.argsort(-np.abs(np.nan_to_num(off)))[:2] if abs(off[i]) > 2]
    if not worst:
        return "all features are as expected of speech"
    return ", ".join(f"{FEATURES[i].replace('_', ' ')} off by {off[i]:+.1f} deviations" for i in worst)


def _marginals(stored: np.ndarray, candidates: list[Guess], probabilities: np.ndarray) -> dict[str, Evidence]:
    floor = detect_floor(stored)
    reached = f"the smallest number, {stored.min():.5g}, occurs {int((stored <= stored.min() + 1e-6).sum())} times"
    evidence = {}
    for name in ("scaling", "log_base", "power", "log_floor", *_FRAMING, *_BANK, *_UNOBSERVABLE):
        shares: dict[Any, float] = defaultdict(float)
        for guess, probability in zip(candidates, probabilities, strict=True):
            shares[_value(name, guess, floor)] += probability
        value, share = max(shares.items(), key=lambda item: item[1])
        state: _State = "found" if share >= _FOUND else "likely" if share >= _LIKELY else "unknown"
        if name in _FRAMING + _BANK + _UNOBSERVABLE and state == "found":
            state = "likely"  # the truth may not be among the guesses
        if name in _UNOBSERVABLE:
            reason = f"has no effect on the numbers; from the conventions that fit ({share:.0%})"
        elif name == "log_floor" and floor is None:
            state = "likely" if state != "unknown" and value is not None else "unknown"
            reason = "no cell reaches it"
        elif name == "log_floor" and value is None:
            state, reason = "unknown", "the numbers are limited to a range below the loudest"
        elif name in ("log_base", "log_floor", "scaling") and floor is not None:
            reason = f"{reached}; probability {share:.0%}"
        else:
            others = sorted((v for v in shares if v != value and shares[v] > 0.05), key=lambda v: -shares[v])
            also = f"; or {', '.join(f'{v} ({shares[v]:.0%})' for v in others)}" if others else ""
            reason = f"texture and level: probability {share:.0%}{also}"
        evidence[name] = Evidence(state, value, reason)
    return evidence


def _value(name: str, guess: Guess, floor: float | None) -> Any:
    if name == "scaling":
        return scaling_name(guess.scaling)
    if name == "log_floor":
        if guess.scaling.dynamic_range is not None:
            return None  # hidden by the limit below the loudest cell
        linear = guess.spec.log_floor if floor is None else _linear(guess, floor)
        return None if linear < 1e-29 else float(f"{linear:.3g}")
    return getattr(guess.spec, name)


def scaling_name(scaling: Scaling) -> str:
    """A scaling in words: its name in `COMMON_SCALINGS`, the convention that has it, or its parameters."""
    for label, known in COMMON_SCALINGS.items():
        if known == scaling:
            return label
    owners = [c.name for c in CONVENTIONS.values() if c.scaling == scaling]
    return f"that of {owners[0]}" if owners else f"{scaling.gain:g} * mel + {scaling.shift:g}"


def convention(name: str) -> Convention:
    """The published convention of this name.

    Raises:
        UserError: there is none.
    """
    if name not in CONVENTIONS:
        raise UserError(f"mel spec {name!r}", "is not a known convention", f"choose among {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
