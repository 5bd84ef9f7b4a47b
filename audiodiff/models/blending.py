"""Blending: the average of the weights of two models of one origin (Wortsman et al. 2022, arXiv 2109.01903).

Between a base and its fine-tuned version lie models that keep most of what the base knows and have most of what is new.
"""

from dataclasses import replace
from pathlib import Path

import torch

from audiodiff.errors import UserError
from audiodiff.models.checkpoint import Checkpoint, describe

# Arguments of a model that its weights depend on, beside its architecture: what goes in and comes out, and the process.
_PROCESS = (
    *("schedule", "objective", "mel_spec", "prior", "bridge", "input_consistency", "sample_rate", "spectrum"),
    *("symbols", "prior_mean", "normalization", "distillation"),
)


def blend(one: Checkpoint, other: Checkpoint, share: float, name: str | Path) -> Checkpoint:
    """The model of weights (1 - share) one + share other, with the configuration of `one`.

    Args:
        one, other: of the same architecture.
        share: of the second, from 0 to 1.
        name: of the second, for errors.

    Raises:
        UserError: a share out of range, or another type, process or architecture.
    """
    if not 0 <= share <= 1:
        raise UserError(f"share {share:g}", "is out of range", "use 0 (the first model) to 1 (the second)")
    if one.type != other.type:
        raise UserError(name, f"is a model of type {other.type!r:.40}, not {one.type!r:.40}", "choose two of one type")
    arguments, theirs = ({key: describe(each.arguments.get(key)) for key in _PROCESS} for each in (one, other))
    if unlike := [key for key in _PROCESS if arguments[key] != theirs[key]]:
        problem = f"has another {', '.join(unlike)}"
        raise UserError(name, problem, "blend a model with what was fine-tuned from it")
    shapes, others = ({key: weight.shape for key, weight in each.weights.items()} for each in (one, other))
    if different := sorted(key for key in shapes.keys() | others.keys() if shapes.get(key) != others.get(key)):
        problem = f"has other weights, such as {different[0]}"
        raise UserError(name, problem, "blend a model with what was fine-tuned from it")
    weights = {key: torch.lerp(weight, other.weights[key], share) for key, weight in one.weights.items()}
    licenses = sorted({text for each in (one, other) for text in each.training.get("licenses", ())})
    record = {**one.training, "licenses": licenses, "blended": {"hash": other.digest, "share": share, **other.training}}
    return replace(one, weights=weights, training=record)
