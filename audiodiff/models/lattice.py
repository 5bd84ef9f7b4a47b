"""Alignment of frames with a chain of states by the Viterbi algorithm (Rabiner 1989).

A clip is a chain of units, each `STATES` states long. Every frame is in one state; from frame to frame the path stays
in its state or moves on to the next one, so a unit lasts `STATES` frames at least. Units that are *optional*, pauses
between words, may be jumped over as a whole. All paths have the same prior probability: which one is likely is left to
the frames. With e[t, n] the log density of frame t in state n, the best path that is in state n at frame t has

    score[t, n] = e[t, n] + max(score[t - 1, n], score[t - 1, n - 1], score[t - 1, n - 1 - STATES] where allowed).

Clips of a batch and states are computed at once; only frames are a loop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STATES = 3  # of a unit: beginning, middle, end
_NONE = -1e30  # score of what is impossible; finite, so that differences of two of them are numbers


@dataclass(frozen=True)
class Chains:
    """Chains of states of a batch.

    Attributes:
        states: (B, N) which density a state has; anything beyond the end of a shorter chain.
        optional: (B, N / STATES) whether a unit may be jumped over; no two in a row.
        units: (B,) length of each chain in units.
        frames: (B,) length of each clip in frames.
    """

    states: Tensor
    optional: Tensor
    units: Tensor
    frames: Tensor

    def fits(self) -> Tensor:
        """(B,) whether a clip has enough frames for its chain."""
        inside = torch.arange(self.optional.shape[1], device=self.units.device) < self.units[:, None]
        return self.frames >= (STATES * (inside & ~self.optional).sum(1)).clamp(min=1)

    def jumps(self) -> Tensor:
        """(B, N) whether a state can be entered over an optional unit: first states after one."""
        jumps = torch.zeros_like(self.states, dtype=torch.bool)
        jumps[:, STATES::STATES] = self.optional[:, :-1]
        return jumps

    def starts(self) -> Tensor:
        """(B, N) whether a path can begin in a state."""
        starts = torch.zeros_like(self.states, dtype=torch.bool)
        starts[:, 0] = True
        starts[:, STATES : STATES + 1] = self.optional[:, :1]
        return starts

    def ends(self) -> Tensor:
        """(B, N) whether a path can end in a state."""
        ends = torch.zeros_like(self.states, dtype=torch.bool)
        rows, last = torch.arange(len(self.units), device=self.units.device), STATES * self.units - 1
        ends[rows, last] = True
        before = rows[self.optional[rows, self.units - 1] & (self.units > 1)]
        ends[before, last[before] - STATES] = True
        return ends


def best_path(densities: Tensor, chains: Chains) -> tuple[Tensor, Tensor]:
    """The most likely state of each frame.

    Args:
        densities: log density of each frame under each density (B, T, S); anything after a clip's end.
        chains: of the batch; each `fits` its clip.

    Returns:
        Places in the chain (B, T), -1 after a clip's end, and the sum of log densities on the path (B,).
    """
    clips, frames, _ = densities.shape
    rows, jumps = torch.arange(clips, device=densities.device), chains.jumps()
    impossible = torch.where(jumps, 0.0, _NONE).to(densities)
    score = densities[:, 0].gather(1, chains.states).masked_fill(~chains.starts(), _NONE)
    choices = torch.zeros(frames, *score.shape, dtype=torch.uint8, device=densities.device)
    last = score
    for t in range(1, frames):
        moved, jumped = _right(score, 1), _right(score, 1 + STATES) + impossible
        best = torch.maximum(score, moved)
        choices[t] = torch.where(jumped > best, 1 + STATES, moved > score)
        score = torch.maximum(best, jumped) + densities[:, t].gather(1, chains.states)
        last = torch.where((t < chains.frames)[:, None], score, last)
    total, place = last.masked_fill(~chains.ends(), 2 * _NONE).max(1)
    path = torch.full((clips, frames), -1, device=densities.device)
    for t in reversed(range(frames)):
        inside = t < chains.frames
        path[:, t] = torch.where(inside, place, -1)
        place = torch.where(inside, place - choices[t, rows, place].long(), place)
    return path, total


def _right(scores: Tensor, places: int) -> Tensor:
    """Scores (B, N) some states further on, impossible before them."""
    return F.pad(scores, (places, 0), value=_NONE)[:, : scores.shape[1]]
