"""Features of a mel's numbers that reveal the filter bank and the logarithm that it was computed with.

After undoing the right guess of scaling, filter bank and window, the rest is speech: it has a plausible level, the
long-term average spectrum (Byrne et al. 1994, table II), and a roughness from band to band that follows from the guess.
The roughness carries most of the evidence. Within a window the transform of any sound fluctuates from bin to bin; a
band averages a few bins, so that its logarithm fluctuates by an amount, and correlated with its neighbors, that follow
from the filters F and the window w alone. For white noise the powers of bins i and j are correlated by |W(i - j)|^2, W
the transform of w^2 (magnitudes nearly so); hence the covariance of log-bands is F'RF divided by the product of the
filters' sums. Wrong bins, window, base or power change amount and pattern.

The features are second differences across bands, which remove level and formants, in five frequency regions: their
size, the correlation with the next and the second next band, the correlation from frame to frame (overlap of the
windows); level, tilt and shape of the spectrum; and how fast the level changes. Speech is not white noise: the
difference between each feature and the theory under the right guess was fitted to recordings (`doctor.json`).
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from audiodiff.audio.mel import MelSpec, filterbank, window
from audiodiff.audio.mel.convention import Scaling
from audiodiff.audio.mel.scale import corners

# Hz, dB of third-octave bands, men and women of twelve languages.
_SPEECH = np.array(
    [
        (63, 38.6), (80, 43.5), (100, 54.4), (125, 57.7), (160, 56.8), (200, 60.2), (250, 60.3), (315, 59.0),
        (400, 62.1), (500, 62.1), (630, 60.5), (800, 56.8), (1000, 53.7), (1250, 53.0), (1600, 52.0), (2000, 48.7),
        (2500, 48.1), (3150, 46.8), (4000, 45.6), (5000, 44.5), (6300, 44.3), (8000, 43.7), (10000, 43.4),
        (12500, 41.3), (16000, 40.7),
    ]
)  # fmt: skip
_THIRD = 2 ** (1 / 6) - 2 ** (-1 / 6)
_REGIONS = ((60, 400), (400, 1000), (1000, 2000), (2000, 4000), (4000, 7500))
_LOW, _MIDDLE, _HIGH = (0, 800), (800, 2500), (2500, 7500)
_RHYTHM = 0.06  # seconds
_DB = 10 / math.log(10)

FEATURES = (
    "level",
    "tilt",
    "shape",
    *(f"roughness_{i}" for i in range(len(_REGIONS))),
    "unevenness",
    *(f"{kind}_{where}" for kind in ("next", "second") for where in ("low", "middle", "high")),
    "frame_low",
    "frame_high",
    "rhythm",
)


class FilterbankTheory(NamedTuple):
    """Features expected for filters and window of a guess; per band unless stated otherwise.

    Attributes:
        centers: Hz.
        widths: Hz.
        sums: of the filters' weights.
        speech: average spectrum of speech, dB per Hz, of any level.
        deviation: of the second differences of natural log-bands, (M - 2,).
        next: correlation of neighboring second differences, (M - 3,).
        second: correlation with the second next, (M - 4,).
        frame: correlation from frame to frame.
        gain: sum of the squared window times sample_rate / 2, which converts |X|^2 to power per Hz.
        covariates: features of the guess that the residuals may depend on.
    """

    centers: np.ndarray
    widths: np.ndarray
    sums: np.ndarray
    speech: np.ndarray
    deviation: np.ndarray
    next: np.ndarray
    second: np.ndarray
    frame: float
    gain: float
    covariates: np.ndarray


def filterbank_theory(spec: MelSpec) -> FilterbankTheory:
    """Expected features for a spec's filters, window and power; its logarithm does not matter."""
    return _theory(replace(spec, log_base="e", log_floor=1.0, center=True, padding="reflect", power_offset=0.0))


@lru_cache(maxsize=256)
def _theory(spec: MelSpec) -> FilterbankTheory:
    edges = corners(spec.n_mels, spec.f_min, spec.f_max, spec.mel_scale)
    centers, widths = edges[1:-1], (edges[2:] - edges[:-2]) / 2
    filters, hann = filterbank(spec).numpy(), window(spec).numpy()
    overlap = (np.abs(np.fft.fft(hann**2)) / (hann**2).sum())[: spec.bins] ** 2
    # Magnitudes of complex noise: variance 4 / pi - 1 of the squared mean, correlation (9 r + r^2) / 10 nearly.
    overlap = overlap if spec.power == 2 else (4 / math.pi - 1) * (0.9 * overlap + 0.1 * overlap**2)
    sums = filters.sum(0)
    covariance = overlap[0] * filters.T @ filters
    for lag in range(1, int(np.flatnonzero(overlap > 1e-4 * overlap[0]).max()) + 1):
        beside = overlap[lag] * filters[lag:].T @ filters[:-lag]
        covariance += beside + beside.T
    covariance /= np.outer(sums, sums)
    difference = np.diff(np.eye(spec.n_mels), 2, axis=0) / -2
    covariance = difference @ covariance @ difference.T
    deviation = np.sqrt(np.diag(covariance))
    hop = spec.hop_length
    spacing = np.interp([300.0, 4000.0], centers, widths)
    resolution = spec.sample_rate / spec.win_length
    return FilterbankTheory(
        centers,
        widths,
        sums,
        np.interp(np.log(centers), np.log(_SPEECH[:, 0]), _SPEECH[:, 1] - _DB * np.log(_SPEECH[:, 0] * _THIRD)),
        deviation,
        np.diag(covariance, 1) / (deviation[1:] * deviation[:-1]),
        np.diag(covariance, 2) / (deviation[2:] * deviation[:-2]),
        ((hann[hop:] * hann[:-hop]).sum() / (hann**2).sum()) ** 2,
        (hann**2).sum() * spec.sample_rate / 2,
        np.array(
            [1.0, math.log(resolution), *np.log(spacing / resolution), math.log(hop / spec.win_length), spec.power]
        ),
    )


class Texture:
    """Features of one mel, with all that does not depend on a guess precomputed.

    Args:
        stored: the numbers, (M, F), float64.
        floor: smallest value, if the numbers reach a floor.
    """

    def __init__(self, stored: np.ndarray, floor: float | None):
        self.stored = stored[:, np.ptp(stored, axis=0) > 0]  # without padding
        alive = self.stored > (-math.inf if floor is None else floor + 1e-3 * abs(np.ptp(stored)))
        self.alive = alive.mean(1)
        second = -np.diff(self.stored, 2, axis=0) / 2
        whole = alive[1:-1] & alive[:-2] & alive[2:]
        count = whole.sum(1, keepdims=True)
        mean = np.where(whole, second, 0).sum(1, keepdims=True) / np.maximum(count, 1)
        self._second = np.where(whole & (count > 8), second - mean, np.nan)
        with np.errstate(all="ignore"):
            self.roughness = np.sqrt(_mean(self._second**2))
            self.next = self._correlation(1)
            self.second = self._correlation(2)
            self.frame = _mean(self._second[:, 1:] * self._second[:, :-1]) / self.roughness**2
        self._powers: dict[float, np.ndarray] = {}
        self._patterns: dict[int, tuple[np.ndarray, list[float]]] = {}

    def _correlation(self, lag: int) -> np.ndarray:
        a, b = self._second[:-lag], self._second[lag:]
        both = np.isfinite(a) & np.isfinite(b)
        a, b = np.where(both, a, np.nan), np.where(both, b, np.nan)
        return _mean(a * b) / np.sqrt(_mean(a * a) * _mean(b * b))

    def powers(self, scale: float) -> np.ndarray:
        """exp(scale * stored), normalized to a maximum of 1, (M, F)."""
        if scale not in self._powers:
            self._powers[scale] = np.exp(scale * (self.stored - self.stored.max()))
        return self._powers[scale]

    def features(self, spec: MelSpec, scaling: Scaling) -> np.ndarray:
        """The features named in `FEATURES`, under a guess; NaN if the mel is too short or silent."""
        theory = filterbank_theory(spec)
        natural = natural_per_unit(spec, scaling)
        if id(theory) not in self._patterns:
            self._patterns[id(theory)] = self._pattern(theory)
        roughness, others = self._patterns[id(theory)]
        with np.errstate(all="ignore"):
            spectrum, rhythm = self._spectrum(spec, scaling, theory), self._rhythm(spec, scaling, theory)
        return np.array([*spectrum, *(roughness + math.log(natural)), *others, rhythm])

    def _pattern(self, theory: FilterbankTheory) -> tuple[np.ndarray, list[float]]:
        """Features independent of the guess's logarithm: roughness by region, up to a constant, and the rest."""
        inner = theory.centers[1:-1]
        with np.errstate(all="ignore"):
            roughness = np.log(self.roughness / theory.deviation)
            return np.array([_average(roughness, inner, region) for region in _REGIONS]), [
                float(np.log(_mean(np.abs(np.diff(roughness[inner < 1200]))[None])[0])),
                *(_average(self.next - theory.next, inner[:-1], region) for region in (_LOW, _MIDDLE, _HIGH)),
                *(_average(self.second - theory.second, inner[1:-1], region) for region in (_LOW, _MIDDLE, _HIGH)),
                *(_average(self.frame - theory.frame, inner, region) for region in (_LOW, _HIGH)),
            ]

    def _weighted(self, spec: MelSpec, scaling: Scaling, theory: FilterbankTheory) -> tuple[np.ndarray, np.ndarray]:
        """Band powers up to a common factor, and the weights that convert them to power per Hz."""
        scale = 2 * natural_per_unit(spec, scaling) / spec.power
        return self.powers(scale), theory.sums ** (-2 / spec.power) / theory.gain

    def _spectrum(self, spec: MelSpec, scaling: Scaling, theory: FilterbankTheory) -> tuple[float, float, float]:
        powers, weights = self._weighted(spec, scaling, theory)
        density = powers.mean(1) * weights * (4 / math.pi if spec.power == 1 else 1)
        level = math.nan
        if scaling.shift is not None:
            exponent = 2 * natural_per_unit(spec, scaling) / spec.power * (self.stored.max() - scaling.shift)
            level = _DB * (math.log((density * theory.widths).sum()) + exponent)
        audible = (theory.centers > 150) & (theory.centers < 7000) & (self.alive > 0.5)
        if audible.sum() < 8:
            return level, math.nan, math.nan
        residual = _DB * np.log(density[audible]) - theory.speech[audible]
        octaves = np.log2(theory.centers[audible])
        line = np.polyfit(octaves, residual, 1)
        return level, line[0], np.std(residual - np.polyval(line, octaves))

    def _rhythm(self, spec: MelSpec, scaling: Scaling, theory: FilterbankTheory) -> float:
        powers, weights = self._weighted(spec, scaling, theory)
        level = np.log(np.maximum((weights * theory.widths) @ powers, 1e-30))
        lag = max(1, round(_RHYTHM * spec.sample_rate / spec.hop_length))
        if len(level) <= 2 * lag or np.ptp(level) == 0:
            return math.nan
        return math.log(np.mean((level[lag:] - level[:-lag]) ** 2) / np.var(level))


def natural_per_unit(spec: MelSpec, scaling: Scaling) -> float:
    """Slope of the natural logarithm of the linear mel over the stored number."""
    return 1 / (scaling.gain * log_unit(spec))


def log_unit(spec: MelSpec) -> float:
    """The log-mel of a linear value of e."""
    return {"e": 1.0, "10": 1 / math.log(10), "db": (20 if spec.power == 1 else 10) / math.log(10)}[spec.log_base]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over frames, ignoring NaN; NaN if all are."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(1) / known.sum(1)


def _average(values: np.ndarray, hertz: np.ndarray, region: tuple[float, float]) -> float:
    values = values[(hertz >= region[0]) & (hertz < region[1])]
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan
