"""Random numbers of a training batch, independent of the number of processes that share it."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from audiodiff.diffusion.timestep_sampling import Uniform

Option = TypeVar("Option")


class BatchRandom:
    """A generator for a whole batch, of which each rank takes the rows of its clips.

    Clip i of the batch is on rank i mod `ranks`. Every rank generates the numbers of all clips, so that they do not
    depend on the number of ranks.

    Args:
        seed: of the batch.
        rank: of this process.
        ranks: number of processes that share the batch.
    """

    def __init__(self, seed: int, rank: int = 0, ranks: int = 1):
        self.generator = torch.Generator().manual_seed(seed)
        self.rank, self.ranks = rank, ranks

    def rows(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Select the clips of this rank from a tensor with the whole batch along `dim`."""
        return whole.movedim(dim, 0)[self.rank :: self.ranks].movedim(0, dim)

    def uniform(self, clips: int, *shape: int) -> Tensor:
        """(clips, *shape) uniform numbers in [0, 1)."""
        return self.rows(torch.rand(clips * self.ranks, *shape, generator=self.generator))

    def normal(self, clips: int, *shape: int, repeats: int | None = None) -> Tensor:
        """(clips, *shape) standard normal numbers; with `repeats`, (repeats, clips, *shape)."""
        whole = (clips * self.ranks, *shape)
        if repeats is None:
            return self.rows(torch.randn(whole, generator=self.generator))
        return self.rows(torch.randn(repeats, *whole, generator=self.generator), dim=1)

    def times(self, sampler: Uniform, clips: int) -> tuple[Tensor, Tensor]:
        """Timesteps in [0, 1] and their importance weights, (clips,) each."""
        times, weights = sampler.sample(clips * self.ranks, self.generator)
        return self.rows(times), self.rows(weights)

    def choice(self, options: Sequence[Option]) -> Option:
        """One of the options, the same on all ranks."""
        return options[int(torch.randint(len(options), (), generator=self.generator))]
