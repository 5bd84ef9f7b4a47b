"""Clipping: the levels at which the tops of a recording were cut off.

A level is found in one of three ways, each for the positive and the negative side:

- three samples in a row that are the largest of all, up to the rounding to 16 bits;
- of the samples within 1 % below the peak at least half are the largest of all, as short tops are at a low sample rate;
- four times as many samples within 1 % below the peak as in the next 1 %, as a filter or a codec leaves them after
  clipping. Of a sine there are 2.4 times as many, of speech and music fewer.
"""

import math

import torch
from torch import Tensor

_ROUNDING = 1.01 * 2.0**-15
_RUN = 3
_QUIET = 0.02  # peak of recordings whose rounding alone makes plateaus
_MARGIN = 0.01
_CROWD, _LEAST = 4, 8


def clip_levels(signal: Tensor) -> tuple[float, float]:
    """The positive levels above and below zero from which on a signal (T,) was clipped; inf: it was not."""
    return _level(signal), _level(-signal)


def _level(signal: Tensor) -> float:
    peak = float(signal.max()) if len(signal) else 0.0
    if peak < _QUIET:
        return math.inf
    top = (signal >= peak - _ROUNDING).float()
    runs = (
        torch.nn.functional.conv1d(top[None, None], torch.ones(1, 1, _RUN)) if len(signal) >= _RUN else top.new_zeros(1)
    )
    near = int((signal >= (1 - _MARGIN) * peak).sum())
    if bool((runs >= _RUN).any()) or int(top.sum()) >= max(_LEAST, near / 2):
        return peak - _ROUNDING
    next_to = int((signal >= (1 - 2 * _MARGIN) * peak).sum()) - near
    return (1 - _MARGIN) * peak if near >= max(_LEAST, _CROWD * next_to) else math.inf
