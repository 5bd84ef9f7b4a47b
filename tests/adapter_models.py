"""Adapters with random numbers for small models."""

import torch

from audiodiff.models.adapted import adaptable_layers, weights_hash
from audiodiff.models.adapter import Adapter
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.adapters.update import UPDATES, largest_rank


def random_adapter(
    model: PretrainedModel, kind="lora", rank=2, words=None, seed=0, deviation=0.1, speakers=None
) -> Adapter:
    """An adapter of all layers of a model, or of names alone (kind "")."""
    generator = torch.Generator().manual_seed(seed)
    updates = {}
    for name, layer in adaptable_layers(model).items() if kind else ():
        sizes = UPDATES[kind].sizes(layer.weight.shape, rank)
        if largest_rank(layer.weight.shape) >= rank:
            updates[name] = {key: deviation * torch.randn(size, generator=generator) for key, size in sizes.items()}
    learned = {"updates": updates, "words": words or {}, "speakers": speakers or {}}
    return Adapter(weights_hash(model), model.TYPE, "base", kind, rank if kind else 0, 2.0 * rank, **learned)
