"""Speakers: a learned vector each; weights between them interpolate between voices."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.ranges import Positive


class Speaker(Conditioner):
    """Weights of speakers (B, K) to a global embedding; zeros are unconditional.

    Args:
        speakers: K names.
        embedding: width of the network's embedding.

    Raises:
        ValueError: there is no speaker, or a name stands there twice.
    """

    name = "speaker"

    def __init__(self, speakers: Sequence[str], embedding: Positive = 128):
        super().__init__()
        if not speakers or len(set(speakers)) < len(speakers):
            raise ValueError(f"speakers must be different names, got {list(speakers)}")
        self.speakers, self.embedding = tuple(speakers), embedding
        self.projection = nn.Linear(len(self.speakers), embedding, bias=False)
        nn.init.normal_(self.projection.weight, std=0.3)

    def weights(self, speaker: str | Mapping[str, float] | None) -> Tensor:
        """Weights (K,) of a speaker, or of a mixture of them, which add up to 1.

        Args:
            speaker: a name; names with weights, as a mapping or as text, "A:0.7,B:0.3"; None: the first speaker.

        Raises:
            UserError: an unknown speaker, or weights that are not positive numbers.
        """
        mixture = _mixture(self.speakers[0] if speaker is None else speaker, self.speakers)
        weights = torch.zeros(len(self.speakers))
        for name, weight in mixture.items():
            if name not in self.speakers:
                raise UserError(f"speaker {name!r:.60}", "unknown", f"choose one of {', '.join(self.speakers)}")
            weights[self.speakers.index(name)] = weight
        if not (weights.isfinite().all() and (weights >= 0).all() and weights.sum() > 0):
            raise UserError(f"speaker {speaker!r:.60}", "has weights that are not positive", "write A:0.7,B:0.3")
        return weights / weights.sum()

    def carry_over(self, trained: "Speaker", weight: Tensor) -> Tensor:
        """Start from another model's speakers: those of the same name keep their vectors, a new one is their mean.

        Args:
            trained: the conditioner of that model.
            weight: of its projection, (embedding, its K).

        Returns:
            The weight of this one's projection (embedding, K).
        """
        mean = weight.mean(1)
        known = {name: weight[:, column] for column, name in enumerate(trained.speakers)}
        return torch.stack([known.get(name, mean) for name in self.speakers], dim=1)

    def from_crop(self, crop: Crop) -> Tensor:
        """Weights (K,) of the speaker of the crop's clip; zeros if it is none of them."""
        return torch.tensor([float(name == crop.clip.speaker) for name in self.speakers])

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `speaker` (B, K)."""
        weight = self.projection.weight
        return Condition(global_embedding=self.projection(batch["speaker"].to(weight.device, weight.dtype)))


def _mixture(speaker: str | Mapping[str, float], speakers: Sequence[str]) -> Mapping[str, float]:
    """Weights by name."""
    if isinstance(speaker, Mapping):
        return speaker
    if speaker in speakers or ":" not in speaker:
        return {speaker: 1.0}
    parts = [part.rpartition(":") for part in speaker.split(",")]
    try:
        return {name.strip(): float(weight) for name, _, weight in parts}
    except ValueError:
        raise UserError(f"speaker {speaker!r:.60}", "has a weight that is no number", "write A:0.7,B:0.3") from None
