"""Signals of any length from a denoiser that knows one length: windows that overlap, at every step of the sampler.

The answer at a position is the mean of what the windows over it answer, which is the estimate that differs least from
all of theirs (Bar-Tal et al. 2023, arXiv 2302.08113). A window's weight falls to nothing towards its ends, where it
knows least of what is around. Overlapping inside of the sampler, neighbors agree on what sounds where they meet;
cross-fades of finished clips would only hide that they do not.

Windows of a loop go around: the last one ends with the beginning, so there is no end that could be heard.
"""

import math
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from audiodiff.diffusion.clips import map_tensors
from audiodiff.diffusion.samplers.sampler import DenoiserLike
from audiodiff.diffusion.wrapper import Time, Wrapper


class Windowed(Wrapper):
    """Asks for windows of a signal, a few at once, and puts their answers together.

    What is told in the condition is told of every window.

    Args:
        denoiser: of signals of `window` frames.
        window: frames.
        overlap: of one window with the next, as a share of the window.
        loop: whether the signal goes on from its end at its beginning.
        at_once: windows, of all clips, that the denoiser is given together: what bounds the memory, of gradients too.

    Raises:
        ValueError: a window or a number at once below 1, or an overlap outside [0, 1).
    """

    def __init__(
        self, denoiser: DenoiserLike, window: int, overlap: float = 0.25, loop: bool = False, at_once: int = 8
    ):
        super().__init__(denoiser)
        if window < 1 or at_once < 1 or not 0 <= overlap < 1:
            raise ValueError(f"no windows of {window} frames, {at_once} at once, that overlap by {overlap}")
        self.window, self.overlap, self.loop, self.at_once = window, overlap, loop, at_once

    def starts(self, frames: int) -> list[int]:
        """Where the windows of a signal begin, evenly; those of a loop may reach beyond its end."""
        hop = max(round(self.window * (1 - self.overlap)), 1)
        if self.loop:
            count = math.ceil(frames / hop)
            return [round(k * frames / count) for k in range(count)]
        if frames <= self.window:
            return [0]
        gaps = math.ceil((frames - self.window) / hop)
        return [round(k * (frames - self.window) / gaps) for k in range(gaps + 1)]

    def _answer(self, x_t: Tensor, t: Time, cond: Any) -> Tensor:
        frames = x_t.shape[-1]
        starts = self.starts(frames)
        if starts == [0] and not self.loop:
            return self._estimate(x_t, t, cond)
        weight = self._weight(x_t)
        total, weights = torch.zeros_like(x_t), x_t.new_zeros(frames)
        # Every window of a clip, then every one of the next: (clip, start).
        jobs = [(clip, start) for clip in range(len(x_t)) for start in starts]
        offsets = torch.arange(self.window, device=x_t.device)
        # A gradient would keep what the network computes in all windows; so it is computed again, a few at once.
        again = torch.is_grad_enabled() and x_t.requires_grad and len(jobs) > self.at_once
        ask = partial(checkpoint, self._estimate, use_reentrant=False) if again else self._estimate
        for first in range(0, len(jobs), self.at_once):
            some = jobs[first : first + self.at_once]
            rows = torch.tensor([clip for clip, _ in some], device=x_t.device)
            where = [(start + offsets) % frames for _, start in some]
            windows = torch.stack([x_t[clip][:, place] for (clip, _), place in zip(some, where, strict=True)])
            times = t[rows.to(t.device)] if isinstance(t, Tensor) and t.ndim else t
            answers = ask(windows, times, map_tensors(itemgetter(rows), cond))
            for (clip, _), place, answer in zip(some, where, answers, strict=True):
                total[clip].index_add_(-1, place, answer * weight)
        for start in starts:
            weights.index_add_(0, (start + offsets) % frames, weight)
        return total / weights

    def _weight(self, like: Tensor) -> Tensor:
        """(window,): a rise and a fall over the overlap, one between."""
        place = torch.arange(self.window, device=like.device, dtype=like.dtype) + 0.5
        rise = torch.minimum(place, self.window - place) / max(self.overlap * self.window, 1.0)
        return (rise.clamp(max=1.0) * (torch.pi / 2)).sin().square()
