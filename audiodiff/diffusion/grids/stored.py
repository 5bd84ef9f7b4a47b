"""Time grids stored in a checkpoint, each for one sampler and number of steps."""

from collections.abc import Sequence

import torch

from audiodiff.diffusion.grids import grid as grids
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.sampler import Sampler


class StoredGrid:
    """A time grid for one sampler and number of steps.

    Args:
        sampler: its published name, a key of `presets.PRESETS`.
        steps: network evaluations per sample.
        times: (intervals + 1,) strictly falling, in [0, 1].

    Raises:
        ValueError: another number of times, or as `grid.check`; UserError as `presets.build`.
    """

    def __init__(self, sampler: str, steps: int, times: Sequence[float]):
        self.sampler, self.steps, self.times = sampler, steps, tuple(times)
        self.build()

    def build(self, t_max: float | None = None) -> Sampler:
        """The sampler on these times; the first is at most t_max."""
        sampler = presets.build(self.sampler, self.steps)
        first, *others = self.times
        first = first if t_max is None else min(first, t_max)
        times = grids.check(torch.tensor([first, *others], dtype=torch.float64))
        if len(times) != sampler.intervals + 1:
            raise ValueError(
                f"{self.sampler} with {self.steps} steps needs {sampler.intervals + 1} times, got {len(times)}"
            )
        sampler.grid = times
        return sampler
