"""`Hypernetwork`: predicts an adapter of one base model from how reference clips sound (`nn.adapters.hypernetwork`).

It names two other models by their hashes: the base, which its adapters are for, and the audio-text pair, by which
reference clips are embedded. Neither is a part of it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.adapted import adaptable_layers, weights_hash
from audiodiff.models.adapter import Adapter
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.adapters.hypernetwork import HypernetworkNetwork
from audiodiff.nn.adapters.layers import select
from audiodiff.nn.adapters.update import largest_rank
from audiodiff.ranges import Positive

MAX_SECONDS = 10  # of a reference clip that are embedded


class Hypernetwork(PretrainedModel):
    """Embeddings of clips to adapters.

    Args:
        network: of embeddings to factors of updates.
        base: name of the model that adapters are for.
        base_type: its model type.
        base_hash: of its weights (`models.adapted.weights_hash`).
        sample_rate: of its audio, in Hz.
        embedder: name of the audio-text pair whose embeddings the network reads.
        embedder_hash: of its weights.
    """

    network: HypernetworkNetwork
    TYPE = "hypernetwork"
    ARGUMENTS = ("network", "base", "base_type", "base_hash", "sample_rate", "embedder", "embedder_hash")

    def __init__(
        self,
        network: HypernetworkNetwork,
        base: str,
        base_type: str,
        base_hash: str,
        sample_rate: Positive,
        embedder: str,
        embedder_hash: str,
    ):
        super().__init__()
        self.network, self.base, self.base_type, self.base_hash = network, base, base_type, base_hash
        self.sample_rate, self.embedder, self.embedder_hash = sample_rate, embedder, embedder_hash

    def load_base(self) -> AudioModel:
        """The base, frozen.

        Raises:
            UserError: there is no such model, or it is another one by now.
        """
        model = AudioModel.from_pretrained(self.base).requires_grad_(False)
        if weights_hash(model) != self.base_hash:
            problem = f"is not the model that the hypernetwork is for (hash {self.base_hash[:12]})"
            raise UserError(self.base, problem, "restore it, or train a hypernetwork for it with generator=")
        return model

    def load_embedder(self) -> AudioTextModel:
        """The audio-text pair; raises as `load_base`."""
        model = AudioTextModel.from_pretrained(self.embedder).requires_grad_(False)
        if weights_hash(model) != self.embedder_hash:
            problem = f"is not the embedding that the hypernetwork reads (hash {self.embedder_hash[:12]})"
            raise UserError(self.embedder, problem, "restore it, or train a hypernetwork with data.embedder=")
        return model

    @torch.no_grad()
    def adapter(self, embedding: Tensor, training: Mapping[str, Any] | None = None) -> Adapter:
        """The adapter of a subject.

        Args:
            embedding: (E,) unit vector of its clips.
            training: record of how the adapter came about.

        Raises:
            UserError: another number of dimensions, or numbers that are not finite.
        """
        expected = (self.network.embedding,)
        if embedding.shape != expected or not embedding.isfinite().all():
            raise UserError("embedding", f"is no vector {expected} of finite numbers", "embed a clip with sound")
        factors = self.network(embedding.to(self.network.head.weight)[None])
        updates = {
            name: {"down": down.float().cpu().clone(), "up": up[0].float().cpu().contiguous()}
            for name, (down, up) in factors.items()
        }
        names = (self.base_hash, self.base_type, self.base)
        rank = self.network.rank
        return Adapter(*names, "lora", rank, float(rank), updates, training=training or {})


def mean_embedding(embeddings: Tensor) -> Tensor:
    """The unit vector (E,) of what clips have in common, of the unit vectors (N, E) of each."""
    return torch.nn.functional.normalize(embeddings.mean(0), dim=0)


@cache
def _loaded(folder: str) -> tuple[PretrainedModel, str]:
    """A model and the hash of its weights, for a configuration that reads several things of it."""
    from audiodiff.models.registry import load_model

    model = load_model(checkpoint.load(folder), folder)
    return model, weights_hash(model)


def hash_of(folder: str | Path) -> str:
    """Hash of a model's weights; raises as loading it."""
    return _loaded(str(folder))[1]


def type_of(folder: str | Path) -> str:
    """Type of a model; raises as loading it."""
    return _loaded(str(folder))[0].TYPE


def width_of(folder: str | Path) -> int:
    """Width of the vectors of an audio-text pair.

    Raises:
        UserError: it is another type of model.
    """
    return AudioTextModel.from_pretrained(folder).width


def layers_of(folder: str | Path, groups: Sequence[str], rank: int) -> list[str]:
    """Names of the layers of a base that have a rank, by groups (`nn.adapters.layers`).

    Raises:
        UserError: a base that is no generator of audio, or a group without a layer.
    """
    return list(_chosen(str(folder), tuple(groups), rank))


def shapes_of(folder: str | Path, groups: Sequence[str], rank: int) -> list[list[int]]:
    """Shapes of the weights of `layers_of`."""
    return list(_chosen(str(folder), tuple(groups), rank).values())


@cache
def _chosen(folder: str, groups: tuple[str, ...], rank: int) -> dict[str, list[int]]:
    model, _ = _loaded(folder)
    if not isinstance(model, AudioModel):
        raise UserError(folder, f"is a model of type {model.TYPE}", "set generator to an audio generator")
    own = {id(module) for module in model.network.modules()}
    inside = {
        name: list(cast(Tensor, layer.weight).shape)
        for name, layer in adaptable_layers(model).items()
        if id(layer) in own
    }
    try:
        passing = select(inside, groups)
    except ValueError as error:
        raise UserError("the layers of a hypernetwork", str(error), "set network.layers.groups=[network]") from error
    wanted = {name for names in passing.values() for name in names}
    return {name: shape for name, shape in inside.items() if name in wanted and largest_rank(shape) >= rank}
