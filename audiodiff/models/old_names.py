"""Names that earlier versions wrote into checkpoints, and what they are called now.

Checkpoints of any version are read: their argument and weight names are brought up to date here, and nowhere else.
What is written uses today's names alone.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# By the type name of a component, its constructor's arguments: old name to new.
ARGUMENTS: dict[str, dict[str, str]] = {
    "network": {"attention": "attention_levels", "answers": "num_outputs", "recompute": "gradient_checkpointing"},
    "stored_grid": {"calls": "steps"},
}
# Parts of weight names, between dots.
WEIGHTS: dict[str, str] = {
    "enter": "conv_in",
    "leave": "conv_out",
    "shrink": "downsample",
    "grow": "upsample",
    "attend": "attention",
}
_WEIGHT = re.compile(rf"(?<![^.])({'|'.join(WEIGHTS)})(?![^.])")


def update_arguments(component: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a component, named by its type, under today's names."""
    names = ARGUMENTS.get(component, {})
    return {names.get(name, name): value for name, value in arguments.items()}


def update_weights(weights: Mapping[str, T]) -> dict[str, T]:
    """Weights under today's names."""
    return {_WEIGHT.sub(lambda match: WEIGHTS[match[0]], name): weight for name, weight in weights.items()}
