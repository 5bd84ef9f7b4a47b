"""Whether a run that is resumed goes on training what it has trained.

What weights mean depends on the model around them and on the data. Every checkpoint of a run says both, and resuming is
refused where they are others now. What a run finds for itself, or takes from the model that it starts from, is
restored: the average spectrum and the time grids.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiodiff.errors import UserError
from audiodiff.models.checkpoint import build, describe

if TYPE_CHECKING:
    from audiodiff.training.module import Training

# Arguments of a model that may change while it is trained: its weights do not depend on them ...
_FREE = {"sampler", "consistency", "validated", "samples", "network.gradient_checkpointing"}
# ... or the run determines them.
_RESTORED = {"spectrum", "grids"}
_MOST_NAMED = 5


def describe_run(module: "Training") -> dict[str, Any]:
    """What a run trains, as JSON: the model's type and arguments, how it is trained, and on which clips."""
    model = module.model
    arguments = {name: describe(getattr(model, name)) for name in model.ARGUMENTS}
    return {
        "type": model.TYPE,
        "model": arguments,
        "training": type(module).__name__,
        "data": module.training_clips,
    }


def load_description(checkpoint: Path, exported: Path) -> dict[str, Any]:
    """What the run of a checkpoint trains; of an older version's, what the model says that it exported; {} if neither.

    Args:
        checkpoint: a whole one.
        exported: folder of the run's model.
    """
    found = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    if "run" in found:
        run = found["run"]
        return run | {"data": {"hash": run["data"]}} if isinstance(run["data"], str) else run
    try:
        config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
        return {"type": config["type"], "model": config["model"], "data": {"hash": config["training"]["manifest_hash"]}}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def restore(run: dict[str, Any], module: "Training", folder: Path) -> None:
    """Check that a module trains what a run trains, and give its model what the run determined.

    Args:
        run: as of `load_description`.
        module: as configured now.
        folder: of the run.

    Raises:
        UserError: the model, its training or the clips differ from the run's; names what does.
    """
    now, model = describe_run(module), module.model
    new_run = f"or start a new run with init_from={folder / 'model'}"
    if changes := list(_changes(_fixed_parts(run), _fixed_parts(now))):
        more = f" and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
        problem = f"differs from the run (run -> now: {'; '.join(changes[:_MOST_NAMED])}{more})"
        raise UserError(folder, problem, f"leave these as they were, {new_run}")
    then, clips = run.get("data", {}), now["data"]
    if "hash" in then and then["hash"] != clips.get("hash"):
        counts = f"{then.get('clips', 'unknown')} clips then, {clips['clips']} now"
        problem = f"the training clips are not those of the run {folder} ({counts})"
        raise UserError(clips["path"], problem, f"prepare the same clips again, {new_run}")
    for name in _RESTORED & set(run.get("model", ())) & set(model.ARGUMENTS):
        value = build(run["model"][name])
        setattr(model, name, tuple(value) if isinstance(value, list) else value)


def _fixed_parts(run: dict[str, Any]) -> dict[str, Any]:
    """What may not change, without the level of nesting that nobody types."""
    arguments = {name: value for name, value in run.get("model", {}).items() if name not in _RESTORED}
    named = {"type": "model", "training": "training"}
    return {name: run[key] for key, name in named.items() if key in run} | arguments


def _changes(then: dict[str, Any], now: dict[str, Any], within: str = "") -> Iterator[str]:
    """`name then -> now` of all that differs and may not, but for arguments that an older version did not have."""
    for name, value in then.items():
        other = now.get(name)
        if f"{within}{name}" in _FREE:
            continue
        nested = isinstance(value, dict) and isinstance(other, dict) and value.get("type") == other.get("type")
        if nested:
            yield from _changes(value, other, f"{within}{name}.")
        elif value != other:
            yield f"{within}{name} {_short(value)} -> {_short(other)}"


def _short(value: Any) -> str:
    text = str(value.get("type")) if isinstance(value, dict) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
