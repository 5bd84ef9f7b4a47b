"""A long recording at another sample rate, read from its beginning to its end in overlapping stretches."""

from collections.abc import Iterable
from math import ceil, gcd

import torch
from torch import Tensor

from audiodiff.audio.io import resample

_MARGIN_SECONDS = 0.1  # beyond this the tail of the resampling filter is inaudible


class Resampled:
    """Stretches of a recording at another rate, equal to those of the whole recording resampled at once.

    Only what the next stretch needs is held.

    Args:
        blocks: (C, T_i) of the recording, in order.
        samples: of the recording.
        from_rate, to_rate: Hz.
    """

    def __init__(self, blocks: Iterable[Tensor], samples: int, from_rate: int, to_rate: int):
        common = gcd(from_rate, to_rate)
        self._up, self._down = to_rate // common, from_rate // common
        self._blocks, self._from_rate, self._to_rate = iter(blocks), from_rate, to_rate
        self._held, self._at = torch.empty(0), 0  # samples from position `_at` on
        self._samples, self.samples = samples, ceil(samples * to_rate / from_rate)

    @property
    def held(self) -> int:
        """Samples of the recording that are in memory."""
        return self._held.shape[-1]

    def read(self, start: int, stop: int) -> Tensor:
        """The samples [start, stop) at the new rate, (C, stop - start), zero before the recording and behind it.

        Args:
            start: no less than in earlier calls.
            stop: above start.
        """
        first, last = min(max(start, 0), self.samples), min(max(stop, 0), self.samples)
        if first >= last:  # only zeros
            self._hold(0, 1)
            return self._held.new_zeros(len(self._held), stop - start)
        up, down = self._up, self._down
        margin = ceil(_MARGIN_SECONDS * self._from_rate / down) if self._up != self._down else 0
        block = max(first // up - margin, 0)  # the stretch of the file begins on the common grid of both rates
        until = (last // up + 1 + margin) * down
        piece = self._hold(block * down, min(until, self._samples))
        piece = torch.nn.functional.pad(piece, (0, until - block * down - piece.shape[-1]))  # behind the recording
        out = resample(piece, self._from_rate, self._to_rate)[..., first - block * up : last - block * up]
        return torch.nn.functional.pad(out, (first - start, stop - start - (first - start) - out.shape[-1]))

    def _hold(self, start: int, stop: int) -> Tensor:
        """The samples [start, stop) at the file's rate; what lies before is forgotten."""
        if start > self._at and self._held.numel():
            skipped = min(start - self._at, self._held.shape[-1])
            self._held, self._at = self._held[..., skipped:], self._at + skipped
        parts, length = [self._held] if self._held.numel() else [], self._held.shape[-1]
        while self._at + length < stop and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            length += block.shape[-1]
        self._held = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        return self._held[..., start - self._at : stop - self._at]
