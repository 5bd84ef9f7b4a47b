"""An inaudible watermark, which says that a sound was generated, and its detection with a bounded rate of errors.

Embedding is spread spectrum in the logarithm of the spectrum (D. Kirovski, H. S. Malvar, "Spread-Spectrum Watermarking
of Audio Signals", IEEE Transactions on Signal Processing 51(4), 2003). Time and frequency are divided into cells, 40 ms
by 64 bands from 250 Hz to 7.2 kHz, at the same times and frequencies for every sample rate. The magnitudes in a cell
are raised or lowered by `STRENGTH` dB, by the sign of a fixed pseudo-random sequence, which repeats after `PERIOD`
cells of time. A change in proportion to the signal is masked by the signal, is nothing in silence, and survives what
keeps the spectral envelope: coding, resampling, filters, gain.

The detector does not know the original. Levels of cells in dB vary by several dB from cell to cell; a moving average
along time and along frequency is subtracted, each band is divided by its median magnitude, and outliers are limited. At
each possible offset in time (the start may be cut off) the score is the correlation of these levels x with the signs c,

    z = sum_i c_i x_i / sqrt(sum_i x_i^2),

where levels one period apart are added first, so that every sign occurs once.

False positives are bounded without any assumption on the signal: it does not know the signs, which are independent and
fair. So z is a weighted sum of random signs of unit norm, and P(z >= t) <= 3.18 P(N >= t) for a standard normal N (V.
Bentkus, D. Dzindzalieta, "A tight Gaussian bound for weighted sums of Rademacher random variables", Bernoulli 21(2),
2015). `p_value` is this bound, times the number of offsets and segments that were tried. Whatever the levels are
computed from, in whatever way, the bound holds, as long as the signs do not enter.

The sequence is public, like this file: who wants to remove the watermark can, and its absence proves nothing.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from scipy.special import ndtr
from torch import Tensor

STRENGTH = 1.5  # dB
THRESHOLD = 1e-5  # p-value up to which a watermark counts as detected
BANDS, PERIOD = 64, 83  # cells along frequency and along time, 3.3 s; a prime number: music repeats with others
_LOWEST, _HIGHEST, _LINEAR = 250.0, 7200.0, 1000.0  # Hz; bands are of equal width far below the last
_USED = 0.46  # highest frequency that detection uses, relative to the sample rate
_HOPS, _HOPS_PER_CELL = 100, 4  # frames per second, and in the time of a cell
_WINDOW = 4  # hops, 40 ms
_GROUP = 64  # frames that are transformed at once, however the signal arrives
_SEGMENT = 5 * PERIOD * _HOPS_PER_CELL  # frames that levels are normalized over, 16.6 s
_AVERAGED_CELLS, _AVERAGED_BANDS = 13, 7  # of moving averages: frames (three cells) and bands
_LIMIT = 2.5  # standard deviations
_FLOOR = 1e-7  # of the mean power: below, levels are equal
_BENTKUS = 3.18


@dataclass(frozen=True)
class Detection:
    """Result of a detection.

    Attributes:
        p_value: upper bound on the probability that a sound without a watermark scores as high, 0 to 1.
        score: the highest z; normally distributed without a watermark, up to the choice of the highest.
        segments: (start, stop, p-value) of the parts of a long sound, in seconds.
    """

    p_value: float
    score: float
    segments: tuple[tuple[float, float, float], ...]

    @property
    def detected(self) -> bool:
        """Whether the p-value is at most `THRESHOLD`."""
        return self.p_value <= THRESHOLD

    def __str__(self) -> str:
        """For a terminal: whether a watermark is found, the p-value, and in how many parts."""
        marked = sum(p_value <= THRESHOLD for *_, p_value in self.segments)
        parts = f", in {marked} of {len(self.segments)} parts of 16.6 s" if len(self.segments) > 1 else ""
        return f"{'found' if self.detected else 'not found'} (p-value {self.p_value:.2g}{parts})"


def embed(samples: Tensor, sample_rate: int, start: int = 0) -> Tensor:
    """Embed the watermark in samples (T,) or (C, T).

    Args:
        samples: float.
        sample_rate: Hz.
        start: of a part of a longer signal, its first sample: parts that are embedded so are found together.

    Returns:
        The same shape, float32.
    """
    pieces = [torch.zeros(1, 0), *embed_chunks([torch.atleast_2d(samples)], sample_rate, start)]
    return torch.cat(pieces[1:] or pieces, -1).reshape(samples.shape)


def embed_chunks(pieces: Iterable[Tensor], sample_rate: int, start: int = 0) -> Iterator[Tensor]:
    """Embed the watermark in one signal that arrives in chunks (C, T_i); the samples do not depend on the chunks.

    Arguments are those of `embed`.

    Yields:
        (C, T') float32, 20 ms later at most than the samples that it is computed from.
    """
    hop = _hop(sample_rate)
    size, before = _GROUP * hop, _WINDOW // 2 * hop  # samples that a group completes, and before its first center
    overlap = (_WINDOW - 1) * hop
    waiting: np.ndarray | None = None
    tail: np.ndarray | float = 0.0
    taken = done = group = 0
    for piece in chain(pieces, [None]):
        if piece is not None:
            block = piece.detach().cpu().double().numpy()
            taken += block.shape[-1]
            waiting = np.concatenate([np.zeros((len(block), before)) if waiting is None else waiting, block], -1)
        if waiting is None:
            return
        while waiting.shape[-1] >= size + overlap or (piece is None and done < taken):
            span = np.zeros((len(waiting), size + overlap))
            span[:, : waiting.shape[-1]] = waiting[:, : size + overlap]
            mark = _mark(span, start + group * size, sample_rate)
            mark[:, :overlap] += tail
            tail = mark[:, size:].copy()
            # The first samples of the first group lie before the signal, and the last ones may lie behind it.
            first = before if group == 0 else 0
            last = min(size, first + taken - done)
            yield torch.from_numpy((span + mark)[:, first:last]).float()
            done += last - first
            waiting, group = waiting[:, size:], group + 1


def _mark(span: np.ndarray, first: int, sample_rate: int) -> np.ndarray:
    """What `_GROUP` frames add to a signal, the first at sample `first`: both (C, samples under the windows)."""
    hop = _hop(sample_rate)
    length = _WINDOW * hop
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length)
    frames = np.lib.stride_tricks.sliding_window_view(span, length, -1)[:, ::hop][:, :_GROUP]
    time = (first + np.arange(_GROUP) * hop) * _HOPS // (_HOPS_PER_CELL * sample_rate)  # cells, exact in integers
    band = np.searchsorted(_edges(), np.fft.rfftfreq(length, 1 / sample_rate), side="right") - 1
    inside = (band >= 0) & (band < BANDS)
    sign = np.where(inside, _signs()[np.clip(band, 0, BANDS - 1)][:, time % PERIOD].T, 0)
    changed = np.fft.irfft(np.fft.rfft(frames * window) * (10 ** (STRENGTH / 20 * sign) - 1), n=length)
    changed *= window / (_WINDOW / 2)  # squared sines add up to half the number that overlap
    mark = np.zeros_like(span)
    for number in range(_GROUP):
        mark[:, number * hop : number * hop + length] += changed[:, number]
    return mark


def detect(samples: Tensor, sample_rate: int) -> Detection:
    """Detect the watermark in samples (T,) or (C, T), at a rate in Hz."""
    return detect_chunks([torch.atleast_2d(samples)], sample_rate)


def detect_chunks(pieces: Iterable[Tensor], sample_rate: int) -> Detection:
    """Detect the watermark in one signal that arrives in chunks (C, T_i); a segment is held in memory."""
    evidence, segments, start = np.zeros((_HOPS_PER_CELL, BANDS, PERIOD)), [], 0
    scores = []
    for segment in _segments(pieces, sample_rate):
        found = _evidence(segment.double().nan_to_num(0, 0, 0).numpy(), sample_rate)
        evidence, score = evidence + found, _score(found)
        stop = start + segment.shape[-1]
        segments.append((start / sample_rate, stop / sample_rate, _p_value(score, 1)))
        scores.append(score)
        start = stop
    if len(scores) > 1:
        scores.append(_score(evidence))
    highest = max(scores, default=0.0)
    return Detection(_p_value(highest, max(len(scores), 1)), highest, tuple(segments))


def _segments(pieces: Iterable[Tensor], sample_rate: int) -> Iterator[Tensor]:
    """The signal in segments, which begin at whole periods of the watermark."""
    waiting, number = None, 0
    for piece in pieces:
        piece = piece.detach().cpu()
        waiting = piece if waiting is None else torch.cat([waiting, piece], -1)
        while waiting.shape[-1] >= (size := _sample(number + 1, sample_rate) - _sample(number, sample_rate)):
            yield waiting[:, :size]
            waiting, number = waiting[:, size:], number + 1
    if waiting is not None and waiting.shape[-1]:
        yield waiting


def _sample(segment: int, sample_rate: int) -> int:
    return round(segment * _SEGMENT * sample_rate / _HOPS)


def _evidence(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Levels of the cells of a signal (C, T), (offset in frames, band, time within the period), added over periods."""
    evidence = np.zeros((_HOPS_PER_CELL, BANDS, PERIOD))
    levels = _levels(signal, sample_rate)
    if levels.shape[1] < 2 * _AVERAGED_CELLS:
        return evidence
    for size, axis in ((_AVERAGED_CELLS, 1), (_AVERAGED_BANDS, 0)):
        levels = levels - uniform_filter1d(levels, size, axis=axis, mode="nearest")
    total = np.cumsum(np.pad(levels, ((0, 0), (1, 0))), axis=1)
    cells = (total[:, _HOPS_PER_CELL:] - total[:, :-_HOPS_PER_CELL]) / _HOPS_PER_CELL
    deviation = 1.4826 * np.median(np.abs(cells), axis=1, keepdims=True)
    cells = np.clip(cells / np.maximum(deviation, 1e-6), -_LIMIT, _LIMIT)
    for offset in range(_HOPS_PER_CELL):
        own = cells[:, offset::_HOPS_PER_CELL]
        periods = -(-own.shape[1] // PERIOD)
        own = np.pad(own, ((0, 0), (0, periods * PERIOD - own.shape[1])))
        evidence[offset, : len(own)] = own.reshape(len(own), periods, PERIOD).sum(1)
    return evidence


def _levels(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Levels of the bands below half the sample rate in dB, (bands, frames); frame k is centered at k / `_HOPS` s."""
    hop = _hop(sample_rate)
    length = _WINDOW * hop
    window = np.hanning(length + 1)[:-1]
    count = signal.shape[-1] * _HOPS // sample_rate
    places = np.round(np.arange(count) * sample_rate / _HOPS).astype(int)
    padded = np.pad(signal, ((0, 0), (length // 2, length // 2)))
    overlaps = _overlaps(length, sample_rate)
    powers = np.zeros((count, len(overlaps)))
    for channel in padded:
        frames = np.lib.stride_tricks.sliding_window_view(channel, length)
        for start in range(0, count, _GROUP):
            spectra = np.fft.rfft(frames[places[start : start + _GROUP]] * window)
            powers[start : start + _GROUP] += np.square(np.abs(spectra)) @ overlaps.T
    return 10 * np.log10(powers + _FLOOR * powers.mean() + np.finfo(float).tiny).T if count else powers.T


@lru_cache(maxsize=8)
def _overlaps(length: int, sample_rate: int) -> np.ndarray:
    """Weights of the bins of a spectrum in the bands that detection uses, (bands, bins)."""
    hertz, edges = np.fft.rfftfreq(length, 1 / sample_rate), _edges()
    edges = edges[: max(np.searchsorted(edges, _USED * sample_rate, side="right"), 2)]
    half = sample_rate / length / 2
    upper = np.minimum(hertz + half, edges[1:, None])
    shared = np.maximum(upper - np.maximum(hertz - half, edges[:-1, None]), 0)
    return shared / np.maximum(shared.sum(1, keepdims=True), 1e-9)


def _score(evidence: np.ndarray) -> float:
    """The highest correlation of evidence with the signs, over all offsets in time."""
    signs = np.fft.rfft(_signs())
    correlation = np.fft.irfft((np.conj(np.fft.rfft(evidence)) * signs).sum(1), n=PERIOD)
    norm = np.sqrt(np.square(evidence).sum((1, 2)))[:, None]
    return float((correlation / np.maximum(norm, 1e-9)).max())


def _p_value(score: float, tries: int) -> float:
    """Bound on the probability of a score or a higher one at any of all offsets, in any of so many tries."""
    return min(1.0, float(ndtr(-score)) * _BENTKUS * _HOPS_PER_CELL * PERIOD * tries)


@lru_cache(maxsize=1)
def _signs() -> np.ndarray:
    """The signs of the cells (band, time)."""
    content = hashlib.shake_128(b"audiodiff watermark 1").digest(math.ceil(BANDS * PERIOD / 8))
    bits = np.unpackbits(np.frombuffer(content, np.uint8))[: BANDS * PERIOD]
    return bits.reshape(BANDS, PERIOD) * 2.0 - 1.0


@lru_cache(maxsize=1)
def _edges() -> np.ndarray:
    """Edges of the bands in Hz, equally spaced in log(1 + frequency / `_LINEAR`)."""
    low, high = np.log1p(_LOWEST / _LINEAR), np.log1p(_HIGHEST / _LINEAR)
    return _LINEAR * np.expm1(np.linspace(low, high, BANDS + 1))


def _hop(sample_rate: int) -> int:
    return max(round(sample_rate / _HOPS), 1)
