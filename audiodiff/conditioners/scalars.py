"""Scalars of a clip, such as its length and tempo."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.conditioners.registry import OPTIONS
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.nn.layers import ScalarEmbedding
from audiodiff.options import Option
from audiodiff.ranges import Positive

# What a crop says of each. The length of a generated clip is known without a request.
SCALARS = {
    "seconds": lambda crop: crop.samples / crop.sample_rate,
    "tempo": lambda crop: crop.clip.tempo or math.nan,
}


class Scalars(Conditioner):
    """Positive numbers (B, N) to a global embedding; NaN is unconditional.

    Args:
        scalars: N names, of `SCALARS`.
        embedding: width of the network's embedding.

    Raises:
        UserError: an unknown name.
    """

    name = "scalars"
    null = math.nan
    drop_entries = True

    def __init__(self, scalars: Sequence[str], embedding: Positive = 128):
        super().__init__()
        if unknown := set(scalars) - set(SCALARS):
            raise UserError(f"scalars {', '.join(sorted(unknown))}", "unknown", f"choose among {', '.join(SCALARS)}")
        self.scalars, self.embedding = tuple(scalars), embedding
        if self.scalars:
            self.embed = ScalarEmbedding(len(self.scalars), embedding)

    @property
    def empty(self) -> bool:
        """No scalars."""
        return not self.scalars

    def options(self) -> dict[str, Option]:
        """Those that users may request."""
        return {name: OPTIONS[name] for name in self.scalars if name in OPTIONS}

    def parse(self, request: Mapping[str, Any]) -> Tensor:
        """(N,) numbers, NaN for those that are not requested."""
        values = {name: option.check(name, request.get(name)) for name, option in self.options().items()}
        values = {**request, **values}
        return torch.tensor([math.nan if values.get(name) is None else values[name] for name in self.scalars])

    def from_crop(self, crop: Crop) -> Tensor:
        """(N,) numbers of a crop, NaN for unknown ones."""
        return torch.tensor([SCALARS[name](crop) for name in self.scalars])

    def unrequested(self, values: Tensor) -> Tensor:
        """(B, N) without those that users may request."""
        own = torch.tensor([name in OPTIONS for name in self.scalars], device=values.device)
        return values.masked_fill(own, self.null)

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `scalars` (B, N)."""
        return Condition(global_embedding=self.embed(batch["scalars"].to(self.embed.project.weight.device)))
