"""Check that a resumed run trains what it trained before.

The meaning of weights depends on the model around them, on the task and on the data. Every checkpoint of a run records
all of them, and resuming is refused where they have changed; how long a run or a stage of it takes may change. What a
run measures, or takes over from the model that it starts from, is restored: the average spectrum, the normalization of
mels, the time grids, and the default guidance, unless the configuration states another.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiodiff.errors import UserError
from audiodiff.models.checkpoint import build, describe

if TYPE_CHECKING:
    from audiodiff.training.module import TrainingModule

# Arguments that may change during training: the weights do not depend on them ...
_FREE = {
    *("sampler", "guidance", "consistency", "settings", "validated", "samples"),
    *("network.gradient_checkpointing", "conditioners.prompt.words"),
    # lengths of stages, and what is measured before the first step
    *("task.stage_steps", "task.doubling_steps", "task.spectrum_crops", "task.normalization_clips"),
    "task.teacher",  # `Teacher.load_state_dict` compares it
}
# ... or the run determines them.
_RESTORED = {"spectrum", "normalization", "grids", "distillation"}
_MAX_CHANGES = 5


def describe_run(module: "TrainingModule") -> dict[str, Any]:
    """Describe what a run trains as JSON: type and arguments of the model, the task and the training clips."""
    model = module.model
    return {
        "type": model.TYPE,
        "model": {name: describe(getattr(model, name)) for name in model.ARGUMENTS},
        "task": type(module.task).__name__,
        "arguments": module.arguments,
        "adapter": None if module.adaptation is None else module.adaptation.record(),
        "data": module.training_clips,
    }


def earlier_version(folder: Path) -> UserError:
    """The refusal to resume a run of an earlier version, whose parameters had another order and other names."""
    problem = "is a run of an earlier version, which cannot be resumed exactly"
    return UserError(folder, problem, f"start a new run with init_from={folder / 'model'}")


def load_description(checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Load the description of a run from one of its checkpoints.

    Args:
        checkpoint: an undamaged one.
        folder: of the run.

    Raises:
        UserError: an earlier version wrote it.
    """
    run = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True).get("run", {})
    if "task" not in run:
        raise earlier_version(folder)
    return run


def restore(run: dict[str, Any], module: "TrainingModule", folder: Path) -> None:
    """Check that a module trains what a run trained, and restore what the run determined.

    Args:
        run: as returned by `load_description`.
        module: as configured now.
        folder: of the run.

    Raises:
        UserError: model, task, their arguments or clips differ; names the differences.
    """
    now, model = describe_run(module), module.model
    new_run = f"or start a new run with {_start(module, folder)}"
    changes = list(_changes(_fixed_parts(run), _fixed_parts(now)))
    if run["task"] == now["task"]:
        changes += _changes(run.get("arguments", {}), now["arguments"])
    if changes:
        more = f" and {len(changes) - _MAX_CHANGES} more" if len(changes) > _MAX_CHANGES else ""
        problem = f"differs from the run (run -> now: {'; '.join(changes[:_MAX_CHANGES])}{more})"
        raise UserError(folder, problem, f"leave these unchanged, {new_run}")
    before, clips = run["data"], now["data"]
    if before["hash"] != clips["hash"]:
        counts = f"{before['clips']} clips then, {clips['clips']} now"
        problem = f"the training clips are not those of the run {folder} ({counts})"
        raise UserError(clips["path"], problem, f"prepare the same clips again, {new_run}")
    for name in _RESTORED & set(run["model"]) & set(model.ARGUMENTS):
        value = build(run["model"][name])
        setattr(model, name, tuple(value) if isinstance(value, list) else value)
    if "guidance" in model.ARGUMENTS and model.guidance is None:
        model.guidance = build(run["model"].get("guidance"))


def _start(module: "TrainingModule", folder: Path) -> str:
    """What a new run that goes on with the weights of this one is started with."""
    if module.adaptation is None:
        return f"init_from={folder / 'model'}"
    return f"init_from={module.adaptation.base_name} adapter.init_from={folder / 'adapter'}"


def _fixed_parts(run: dict[str, Any]) -> dict[str, Any]:
    """What may not change, without the level of nesting that is not a configuration key."""
    arguments = {name: value for name, value in run["model"].items() if name not in _RESTORED}
    return {"model": run["type"], "task": run["task"], "adapter": run.get("adapter")} | arguments


def _changes(before: dict[str, Any], now: dict[str, Any], within: str = "") -> Iterator[str]:
    """Format each fixed value that differs as `name before -> now`.

    An argument that only `now` has is one that the run's version did not have yet; a mapping has all its names.
    """
    others = {} if "type" in now or not within else dict.fromkeys(now)
    for name, value in (others | before).items():
        other = now.get(name)
        if f"{within}{name}" in _FREE:
            continue
        types = _types(value)
        if isinstance(value, dict) and isinstance(other, dict) and value.get("type") == other.get("type"):
            yield from _changes(value, other, f"{within}{name}.")
        elif types and types == _types(other):
            for kind, one, two in zip(types, value, other, strict=True):
                yield from _changes(one, two, f"{within}{name}.{kind}.")
        elif value != other:
            yield f"{within}{name} {_short(value)} -> {_short(other)}"


def _types(value: Any) -> list[str]:
    """The types of a list of components, [] of anything else."""
    components = isinstance(value, list) and all(isinstance(item, dict) and "type" in item for item in value)
    return [str(item["type"]) for item in value] if components else []


def _short(value: Any) -> str:
    value = value.get("type", value) if isinstance(value, dict) else _types(value) or value
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
