"""A network that predicts a low-rank adapter of another network from an embedding, in one pass.

For each layer of weight W (out, in K) there are directions that all subjects share, A (r, in K) and B (out, r), and a
core S (r, r) that is predicted from the embedding e of a subject:

    Delta W = B S(e) A,    S_l(e) = H silu(g_l * h(e) + b_l),

with a trunk h, and one head H for all layers, which distinguishes them by a gain g_l and a shift b_l of each. So the
network grows with r (out + in K) and not with the product of that and its width, and what it predicts of one subject
is r^2 numbers a layer (a core between two fixed factors is that of LoRA-XS, Balazy et al. 2024, arXiv 2405.17604;
prediction of adapters from one reference is that of HyperDreamBooth, Ruiz et al. 2023, arXiv 2307.06949). With
B S(e) as one factor it is an ordinary LoRA of rank r.

H is zero at initialization, so that the predicted adapter changes nothing.
"""

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from audiodiff.nn.adapters.update import largest_rank
from audiodiff.ranges import Positive

MAX_LAYERS = 4096


class HypernetworkNetwork(nn.Module):
    """`network(embedding)`: (B, E) to the factors of an adapter.

    Args:
        layers: names of the layers that are changed.
        shapes: of their weights, (out, in, ...).
        rank: r.
        embedding: E.
        hidden: width of the trunk.

    Raises:
        ValueError: no layers, other numbers of names than of shapes, or a rank above that of a layer.
    """

    def __init__(
        self,
        layers: Sequence[str],
        shapes: Sequence[Sequence[Positive]],
        rank: Positive = 16,
        embedding: Positive = 256,
        hidden: Positive = 128,
    ):
        super().__init__()
        if not 1 <= len(layers) == len(shapes) <= MAX_LAYERS or len(set(layers)) != len(layers):
            raise ValueError(f"{len(layers)} layers and {len(shapes)} shapes must be of the same distinct layers")
        for name, shape in zip(layers, shapes, strict=True):
            if len(shape) not in (2, 3) or rank > largest_rank(shape):
                raise ValueError(f"layer {name}: no update of rank {rank} for a weight of shape {list(shape)}")
        self.layers, self.shapes = list(layers), [list(shape) for shape in shapes]
        self.rank, self.embedding, self.hidden = rank, embedding, hidden
        self.trunk = nn.Sequential(nn.Linear(embedding, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.gains = nn.Linear(hidden, len(layers), bias=False)  # a table (layers, hidden), as its weight
        self.shifts = nn.Linear(hidden, len(layers), bias=False)
        self.head = nn.Linear(hidden, rank * rank, bias=False)
        # Projections of inputs and outputs of about unit variance: the core is the size of the change beside them.
        self.down = nn.ModuleList(nn.Linear(math.prod(shape[1:]), rank, bias=False) for shape in shapes)
        self.up = nn.ModuleList(nn.Linear(rank, shape[0], bias=False) for shape in shapes)
        nn.init.ones_(self.gains.weight)
        nn.init.normal_(self.shifts.weight)
        nn.init.zeros_(self.head.weight)
        for _, down, up in self._directions():
            nn.init.normal_(down, std=down.shape[1] ** -0.5)
            nn.init.normal_(up, std=rank**-0.5)

    def cores(self, embedding: Tensor) -> Tensor:
        """S (B, layers, r, r) of unit vectors (B, E)."""
        hidden = self.trunk(embedding * self.embedding**0.5)[:, None]
        hidden = nn.functional.silu(self.gains.weight * hidden + self.shifts.weight)
        return self.head(hidden).unflatten(-1, (self.rank, self.rank))

    def forward(self, embedding: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Of unit vectors (B, E), by layer: A (r, in K), which all share, and B S (B, out, r)."""
        cores = self.cores(embedding)
        return {name: (down, up @ cores[:, place]) for place, (name, down, up) in enumerate(self._directions())}

    def zero_factors(self, clips: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Those of an adapter that changes nothing."""
        return {name: (down, torch.zeros_like(up).expand(clips, -1, -1)) for name, down, up in self._directions()}

    def _directions(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, A and B of each layer."""
        for name, down, up in zip(self.layers, self.down, self.up, strict=True):
            yield name, cast(Tensor, down.weight), cast(Tensor, up.weight)
