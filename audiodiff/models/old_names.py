"""Names that earlier versions wrote into checkpoints, and what they are called now.

Checkpoints of any version are read: their types, arguments and weight names are brought up to date here, and nowhere
else. What is written uses today's names alone.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from audiodiff.models.setting import DEFAULT_STEPS, Setting, nearest_steps

T = TypeVar("T")

MODELS: dict[str, str] = {"music": "audio"}
COMPONENTS: dict[str, str] = {"harmonic_source": "harmonic_excitation"}
# By the type name of a component, its constructor's arguments: old name to new; None for those that are gone.
ARGUMENTS: dict[str, dict[str, str | None]] = {
    "network": {
        "attention": "attention_levels",
        "answers": "num_outputs",
        "recompute": "gradient_checkpointing",
        "labels": None,
        "numbers": None,
    },
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
# Beginnings of weight names.
PREFIXES: dict[str, str] = {
    "label.": "conditioners.labels.projection.",
    "number.": "conditioners.scalars.embed.",
    "source.": "conditioners.excitation.",
}
_WEIGHT = re.compile(rf"(?<![^.])({'|'.join(WEIGHTS)})(?![^.])")


def update_model(type: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A model's type and its constructor's arguments, described as in `config.json`, under today's names."""
    model = {name: update_component(value) for name, value in arguments.items()}
    network = model.get("network")
    embedding = network.get("embedding", 128) if isinstance(network, dict) else 128
    conditioners = [
        {"type": component, component: value, "embedding": embedding}
        for name, component in (("labels", "labels"), ("numbers", "scalars"))
        if (value := model.pop(name, None))
    ]
    conditioners += [source] if (source := model.pop("source", None)) else []
    if type == "vocoder" and "settings" not in model:
        model["settings"] = [_only_setting(model)]
    return MODELS.get(type, type), ({"conditioners": conditioners} if conditioners else {}) | model


def _only_setting(model: dict[str, Any]) -> dict[str, Any]:
    """The one setting of a vocoder that has a sampler and a number of iterations instead; removes these."""
    values: dict[str, Any] = {name: model.pop(name) for name in ("sampler", "consistency") if name in model}
    sampler = str(values.get("sampler", Setting.sampler))
    return {"type": "setting", "steps": nearest_steps(DEFAULT_STEPS, model.get("validated"), sampler), **values}


def update_component(described: Any) -> Any:
    """A component as in `config.json`, with all that it is made of, under today's names."""
    if isinstance(described, list):
        return [update_component(item) for item in described]
    if not isinstance(described, dict):
        return described
    type = described.get("type")
    names = ARGUMENTS.get(type, {}) if isinstance(type, str) else {}
    updated = {names.get(name, name): update_component(value) for name, value in described.items()}
    updated.pop(None, None)
    return updated | ({"type": COMPONENTS[type]} if isinstance(type, str) and type in COMPONENTS else {})


def update_weights(weights: Mapping[str, T]) -> dict[str, T]:
    """Weights under today's names."""
    return {_update_weight(name): weight for name, weight in weights.items()}


def _update_weight(name: str) -> str:
    for old, new in PREFIXES.items():
        if name.startswith(old):
            name = new + name.removeprefix(old)
    return _WEIGHT.sub(lambda match: WEIGHTS[match[0]], name)
