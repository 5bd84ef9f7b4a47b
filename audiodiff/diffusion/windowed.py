"""Signals of any length from a denoiser that knows one length: windows that overlap, at every step of the sampler.

The estimate at a position is the weighted mean of the estimates of all windows over it, the closest to all of them in
mean square (MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113). A window's weight falls to zero towards its ends,
where it has least context. Averaging at every step makes neighboring windows agree, which cross-fading finished clips
would not.

In a loop the last window wraps around to the beginning, so the loop has no seam.

A condition applies to every window, but what it has frame by frame, such as the phase of the beat, goes on from window
to window: each gets its stretch.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from audiodiff.diffusion.clips import map_tensors
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.wrapper import Time, Wrapper


class Windowed(Wrapper):
    """Evaluate a denoiser on overlapping windows and average.

    The condition applies to every window; one with a method `windows`, such as `nn.condition.Condition`, is cut by it.

    Args:
        denoiser: of signals of `window` frames.
        window: frames of a window.
        overlap: of neighboring windows, as a fraction of a window, in [0, 1).
        loop: whether the signal wraps around.
        at_once: maximum number of windows, of all clips, in one evaluation; bounds the memory, of gradients too.

    Raises:
        ValueError: window or at_once below 1, or an overlap outside [0, 1).
    """

    def __init__(
        self, denoiser: DenoiserLike, window: int, overlap: float = 0.25, loop: bool = False, at_once: int = 8
    ):
        super().__init__(denoiser)
        if window < 1 or at_once < 1 or not 0 <= overlap < 1:
            raise ValueError(
                f"windows need window >= 1, at_once >= 1 and 0 <= overlap < 1, got {window}, {at_once} and {overlap}"
            )
        self.window, self.overlap, self.loop, self.at_once = window, overlap, loop, at_once

    def around(self, denoiser: DenoiserLike, loop: bool | None = None) -> "Windowed":
        """The same windows of another denoiser; `loop`: None for that of these."""
        return Windowed(denoiser, self.window, self.overlap, self.loop if loop is None else loop, self.at_once)

    def starts(self, frames: int) -> list[int]:
        """First frames of the windows, evenly spaced; those of a loop may wrap around."""
        hop = max(round(self.window * (1 - self.overlap)), 1)
        if self.loop:
            count = math.ceil(frames / hop)
            return [round(k * frames / count) for k in range(count)]
        if frames <= self.window:
            return [0]
        gaps = math.ceil((frames - self.window) / hop)
        return [round(k * (frames - self.window) / gaps) for k in range(gaps + 1)]

    def _modified(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        frames = x_t.shape[-1]
        starts = self.starts(frames)
        if starts == [0] and not self.loop:
            return self._estimate(x_t, t, cond)
        weight = self._weight(x_t)
        total, weights = torch.zeros_like(x_t), x_t.new_zeros(frames)
        # (clip, start): all windows of a clip, then those of the next.
        jobs = [(clip, start) for clip in range(len(x_t)) for start in starts]
        offsets = torch.arange(self.window, device=x_t.device)
        # Gradients would store the activations of all windows: they are recomputed, a few windows at a time.
        recompute = torch.is_grad_enabled() and x_t.requires_grad and len(jobs) > self.at_once
        evaluate = partial(checkpoint, self._estimate, use_reentrant=False) if recompute else self._estimate
        for first in range(0, len(jobs), self.at_once):
            some = jobs[first : first + self.at_once]
            rows = torch.tensor([clip for clip, _ in some], device=x_t.device)
            where = [(start + offsets) % frames for _, start in some]
            windows = torch.stack([x_t[clip][:, place] for (clip, _), place in zip(some, where, strict=True)])
            times = t[rows.to(t.device)] if isinstance(t, Tensor) and t.ndim else t
            estimates = evaluate(windows, times, _of_windows(cond, rows, torch.stack(where), frames))
            for (clip, _), place, estimate in zip(some, where, estimates, strict=True):
                total[clip].index_add_(-1, place, estimate * weight)
        for start in starts:
            weights.index_add_(0, (start + offsets) % frames, weight)
        return total / weights

    def _weight(self, like: Tensor) -> Tensor:
        """(window,): sine-squared fades over the overlap, one between."""
        place = torch.arange(self.window, device=like.device, dtype=like.dtype) + 0.5
        rise = torch.minimum(place, self.window - place) / max(self.overlap * self.window, 1.0)
        return (rise.clamp(max=1.0) * (torch.pi / 2)).sin().square()


def _of_windows(cond: Any, clips: Tensor, places: Tensor, length: int) -> Any:
    """The condition of windows: of the clip (N,) of each, and of its positions (N, W) in it."""
    if hasattr(cond, "windows"):
        return cond.windows(clips, places, length)
    return map_tensors(partial(torch.index_select, dim=0, index=clips), cond)
