"""Blending: the average of the weights of two models of one origin (Wortsman et al. 2022, arXiv 2109.01903).

Between a base and its fine-tuned version lie models that keep most of what the base knows and have most of what is new.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from audiodiff.errors import UserError
from audiodiff.models.checkpoint import Checkpoint, describe
from audiodiff.models.training_record import data_licenses

# Arguments of a model that may differ: how it is sampled, what it is called, and the lengths that it was trained on.
_FREE = {
    *("sampler", "steps", "guidance", "temperature", "grids", "validated", "settings", "samples"),
    *("language", "vocoder", "base", "embedder"),
}
_FREE_PARTS = {"gradient_checkpointing", "words", "sentence_dropout"}  # and of their components


def blend(one: Checkpoint, other: Checkpoint, share: float, name: str | Path) -> Checkpoint:
    """The model of weights (1 - share) one + share other, with the configuration of `one`.

    Args:
        one, other: of the same architecture.
        share: of the second, from 0 to 1.
        name: of the second, for errors.

    Raises:
        UserError: a share out of range, or another type, process, condition or architecture.
    """
    if not 0 <= share <= 1:
        raise UserError(f"share {share:g}", "is out of range", "use 0 (the first model) to 1 (the second)")
    if one.type != other.type:
        raise UserError(name, f"is a model of type {other.type!r:.40}, not {one.type!r:.40}", "choose two of one type")
    arguments, theirs = (_meaning(each) for each in (one, other))
    if unlike := [key for key in arguments | theirs if arguments.get(key) != theirs.get(key)]:
        problem = f"has another {', '.join(unlike)}"
        raise UserError(name, problem, "blend a model with what was fine-tuned from it")
    shapes, others = ({key: weight.shape for key, weight in each.weights.items()} for each in (one, other))
    if different := sorted(key for key in shapes.keys() | others.keys() if shapes.get(key) != others.get(key)):
        problem = f"has other weights, such as {different[0]}"
        raise UserError(name, problem, "blend a model with what was fine-tuned from it")
    weights = {key: torch.lerp(weight, other.weights[key], share) for key, weight in one.weights.items()}
    licenses = sorted({text for each in (one, other) for text in data_licenses(each.training)})
    record = {**one.training, "licenses": licenses, "blended": {**other.training, "hash": other.digest, "share": share}}
    return replace(one, weights=weights, training=record)


def _meaning(model: Checkpoint) -> dict[str, Any]:
    """Arguments that decide what the weights of a model mean; those that are None as if left out."""
    described = {key: _without(describe(value)) for key, value in model.arguments.items() if key not in _FREE}
    return {key: value for key, value in described.items() if value is not None}


def _without(described: Any) -> Any:
    """A description without the arguments that may differ."""
    if isinstance(described, dict):
        return {key: _without(value) for key, value in described.items() if key not in _FREE_PARTS}
    return [_without(one) for one in described] if isinstance(described, list) else described
