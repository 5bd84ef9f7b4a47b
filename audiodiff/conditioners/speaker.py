"""Speakers: a learned vector each; weights between them interpolate between voices.

A speaker that an adapter adds (`learn`) has a vector of its own beside those that the model was trained with, so that
it is trained alone: textual inversion (Gal et al. 2022, arXiv 2208.01618) of a voice in place of a word.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.conditioners.conditioner import Conditioner, Crop
from audiodiff.errors import UserError
from audiodiff.nn.condition import Condition
from audiodiff.options import real_number
from audiodiff.ranges import Positive


class Speaker(Conditioner):
    """Weights of speakers (B, K) to a global embedding; zeros are unconditional.

    Args:
        speakers: names that the model was trained with.
        embedding: width of the network's embedding.
        added: names of adapters that were merged. K is the number of all names.

    Raises:
        ValueError: there is no speaker, or a name stands there twice.
    """

    name = "speaker"

    def __init__(self, speakers: Sequence[str], embedding: Positive = 128, added: Sequence[str] = ()):
        super().__init__()
        names = [*speakers, *added]
        if not speakers or len(set(names)) < len(names):
            raise ValueError(f"speakers must be different names, got {names}")
        self.speakers, self.embedding, self.added = tuple(speakers), embedding, tuple(added)
        self.projection = nn.Linear(len(self.speakers), embedding, bias=False)
        nn.init.normal_(self.projection.weight, std=0.3)
        self.vectors = nn.ParameterList(torch.zeros(embedding) for _ in added)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all speakers."""
        return *self.speakers, *self.added

    def learn(self, name: str, vector: Tensor) -> nn.Parameter:
        """Add a speaker with a vector (embedding,); the parameter that holds it.

        Raises:
            ValueError: the name is taken, or the vector has another width.
        """
        if name in self.names:
            raise ValueError("is known already")
        weight = self.projection.weight
        if vector.shape != (self.embedding,):
            raise ValueError(f"has a vector {tuple(vector.shape)}, expected ({self.embedding},)")
        self.vectors.append(nn.Parameter(vector.to(weight), weight.requires_grad))
        self.added = *self.added, name
        return self.vectors[-1]

    def vector(self, name: str) -> nn.Parameter:
        """Of an added speaker."""
        return self.vectors[self.added.index(name)]

    def initial_vector(self, speaker: str | None) -> Tensor:
        """(embedding,) to begin a new speaker with: that of a speaker or a mixture; None: the mean of all.

        Raises:
            UserError: as `weights`.
        """
        mixture: Any = dict.fromkeys(self.names, 1.0) if speaker is None else speaker
        with torch.no_grad():
            embedding = self({"speaker": self.weights(mixture)[None]}).global_embedding
        assert embedding is not None
        return embedding[0]

    def weights(self, speaker: str | Mapping[str, float] | None) -> Tensor:
        """Weights (K,) of a speaker, or of a mixture of them, which add up to 1.

        Args:
            speaker: a name; names with weights, as a mapping or as text, "A:0.7,B:0.3"; None: the first speaker.

        Raises:
            UserError: an unknown speaker, or weights that are not positive numbers.
        """
        names = self.names
        weights = torch.zeros(len(names), dtype=torch.float64)
        for name, weight in _mixture(names[0] if speaker is None else speaker, names):
            if name not in names:
                raise UserError(f"speaker {name!r:.60}", "unknown", f"choose one of {', '.join(names)}")
            weights[names.index(name)] += real_number(weight, f"weight of speaker {name}")
        total = weights.sum()
        if not ((weights >= 0).all() and 0 < total < math.inf):
            raise UserError(f"speaker {speaker!r:.60}", "has weights that are not positive", "write A:0.7,B:0.3")
        return (weights / total).float()

    def carry_over(self, trained: "Speaker", weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Start from another model's speakers: those of the same name keep their vectors, a new one is their mean.

        Args:
            trained: the conditioner of that model.
            weights: its weights.

        Returns:
            The weights of this one.
        """
        vectors = [*weights["projection.weight"].T, *(weights[f"vectors.{k}"] for k in range(len(trained.added)))]
        known, mean = dict(zip(trained.names, vectors, strict=True)), torch.stack(vectors).mean(0)
        found = {"projection.weight": torch.stack([known.get(name, mean) for name in self.speakers], dim=1)}
        return found | {f"vectors.{number}": known.get(name, mean) for number, name in enumerate(self.added)}

    def from_crop(self, crop: Crop) -> Tensor:
        """Weights (K,) of the speaker of the crop's clip; zeros if it is none of them."""
        return torch.tensor([float(name == crop.clip.speaker) for name in self.names])

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `speaker` (B, K)."""
        weight, own = self.projection.weight, len(self.speakers)
        shares = batch["speaker"].to(weight.device, weight.dtype)
        embedding = self.projection(shares[:, :own])
        for number, vector in enumerate(self.vectors, own):
            embedding = embedding + shares[:, number, None] * vector
        return Condition(global_embedding=embedding)


def _mixture(speaker: Any, speakers: Sequence[str]) -> list[tuple[str, Any]]:
    """Names with their weights; a name may stand there twice."""
    if isinstance(speaker, Mapping):
        return list(speaker.items())
    if not isinstance(speaker, str):
        raise UserError(f"speaker {speaker!r:.60}", "is neither a name nor a mixture", "write A:0.7,B:0.3")
    if speaker in speakers or ":" not in speaker:
        return [(speaker, 1.0)]
    parts = [part.rpartition(":") for part in speaker.split(",")]
    try:
        return [(name.strip(), float(weight)) for name, _, weight in parts]
    except ValueError:
        raise UserError(f"speaker {speaker!r:.60}", "has a weight that is no number", "write A:0.7,B:0.3") from None
