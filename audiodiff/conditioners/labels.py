"""Class labels, such as the kind of an instrument: a learned vector each, added up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.conditioners.registry import OPTIONS
from audiodiff.nn.condition import Condition
from audiodiff.options import Option
from audiodiff.ranges import Positive


class Labels(Conditioner):
    """Multi-hot class labels (B, K) to a global embedding; zeros are unconditional.

    Args:
        labels: K names.
        embedding: width of the network's embedding.
    """

    name = "labels"
    drop_entries = True

    def __init__(self, labels: Sequence[str], embedding: Positive = 128):
        super().__init__()
        self.labels, self.embedding = tuple(labels), embedding
        if self.labels:
            self.projection = nn.Linear(len(self.labels), embedding, bias=False)

    @property
    def empty(self) -> bool:
        """No labels."""
        return not self.labels

    def options(self) -> dict[str, Option]:
        """The labels to choose from."""
        return {"labels": replace(OPTIONS["labels"], choices=self.labels)}

    def parse(self, request: Mapping[str, Any]) -> Tensor:
        """(K,) ones for the requested labels."""
        chosen = self.options()["labels"].check("labels", request.get("labels")) or ()
        return torch.tensor([float(label in chosen) for label in self.labels])

    def from_crop(self, crop: Crop) -> Tensor:
        """(K,) ones for the labels of the crop's clip."""
        return torch.tensor([float(label in crop.clip.labels) for label in self.labels])

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `labels` (B, K)."""
        weight = self.projection.weight
        return Condition(global_embedding=self.projection(batch["labels"].to(weight.device, weight.dtype)))
