"""Interpolation of missing samples by linear prediction from both sides.

Burg's method (Burg 1975) fits an all-pole model to what lies before the gap and, reversed in time, to what lies behind.
Both are continued into the gap without excitation and cross-faded (Kauppinen and Roth 2002). Its models are stable, so
what they continue decays. An order of 12.5 ms covers a period of most voices: voiced sounds go on at their pitch.

A side that is shorter than three orders, as between two gaps or before the end of a recording, is fitted by a lower
order, which hardly extrapolates: in the cross-fade it counts by the cube of its length.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.signal import lfilter, lfiltic
from torch import Tensor

ORDER_SECONDS = 0.0125
CONTEXT_SECONDS = 0.1
_SAMPLES_PER_COEFFICIENT = 3  # of a context, at least


def burg(signal: np.ndarray, order: int) -> np.ndarray:
    """The coefficients (order + 1,), of which the first is 1, of the filter that whitens a signal (T,)."""
    coefficients = np.array([1.0])
    forward, backward = signal[1:].astype(np.float64), signal[:-1].astype(np.float64)
    for _ in range(order):
        power = forward @ forward + backward @ backward
        if power <= 1e-20 * len(forward):  # nothing is left to be predicted
            break
        reflection = -2 * (forward @ backward) / power
        padded = np.append(coefficients, 0.0)
        coefficients = padded + reflection * padded[::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return coefficients


def extrapolate(context: np.ndarray, samples: int, order: int) -> np.ndarray:
    """The samples (samples,) that follow a context (T,) by its own prediction; zeros where it is too short."""
    order = min(order, len(context) // _SAMPLES_PER_COEFFICIENT)
    if order < 1:
        return np.zeros(samples)
    coefficients = burg(context, order)
    state = lfiltic([1.0], coefficients, context[: -len(coefficients) - 1 : -1].astype(np.float64))
    return lfilter([1.0], coefficients, np.zeros(samples), zi=state)[0]


def interpolate(signal: Tensor, gaps: Sequence[tuple[int, int]], sample_rate: float) -> Tensor:
    """A signal (T,) whose samples [start, stop) are predicted from those around them.

    Args:
        signal: what is in the gaps does not matter.
        gaps: in order, without overlap.
        sample_rate: Hz.
    """
    order, context = round(ORDER_SECONDS * sample_rate), round(CONTEXT_SECONDS * sample_rate)
    filled, length = signal.detach().cpu().double().numpy().copy(), signal.shape[-1]
    for number, (start, stop) in enumerate(gaps):
        until = gaps[number + 1][0] if number + 1 < len(gaps) else length
        before, after = filled[max(start - context, 0) : start], filled[stop : min(stop + context, until)]
        forward = extrapolate(before, stop - start, order)
        backward = extrapolate(after[::-1], stop - start, order)[::-1]
        turn = np.sin(np.pi / 2 * (np.arange(stop - start) + 0.5) / (stop - start)) ** 2
        weights = (1 - turn) * _reliability(before, order), turn * _reliability(after, order)
        filled[start:stop] = (weights[0] * forward + weights[1] * backward) / np.maximum(sum(weights), 1e-30)
    result = signal.clone()
    for start, stop in gaps:
        result[start:stop] = torch.from_numpy(filled[start:stop]).to(signal)
    return result


def _reliability(context: np.ndarray, order: int) -> float:
    """How much a context (T,) counts: 1 where it determines a model of the order, 0 where it is empty."""
    return min(len(context) / (_SAMPLES_PER_COEFFICIENT * max(order, 1)), 1.0) ** 3
