"""The configuration of a run that goes on training a checkpoint, with the checkpoint's own model.

A checkpoint's config is a nested constructor call under type names (`models.checkpoint.describe`), a configuration of a
run is one under import paths (`_target_`): the second is written from the first, so that no option of a recipe has to
be repeated. Data, task, optimizer and callbacks are those of the recipe for models of that kind.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from audiodiff import config
from audiodiff.errors import UserError
from audiodiff.models.checkpoint import TYPES, describe
from audiodiff.models.pretrained_model import PretrainedModel

# Groups that only describe the model.
_MODEL_GROUPS = ("audio", "schedule", "objective", "weighting", "prior", "excitation", "network")
# Minutes on a few cores, from weights that are good already.
_SHORT_RUN = (
    "optimizer.lr=3e-4",
    "lr_schedule.warmup_steps=20",
    "callbacks.ema.decay=0.995",
    "data.workers=0",
    "trainer.max_steps=-1",
    "trainer.val_check_interval=200",
)


def _vocoder(model: Any) -> tuple[str, dict[str, Any]]:
    """One that was tuned for few steps was validated with one step (a fit of grids validates others), and is again."""
    recipe = "speech_few_step" if model.validated and model.validated[0] == 1 else "speech_mel"
    return recipe, {"sample_rate": model.sample_rate}


def _audio(model: Any) -> tuple[str, dict[str, Any]]:
    labels, scalars = model.condition_options().get("labels"), []
    for conditioner in model.conditioners:
        scalars = list(getattr(conditioner, "scalars", scalars))
    data = {
        "sample_rate": model.sample_rate,
        "crop_samples": model.samples,
        "channels": model.channels,
        "labels": list(labels.choices) if labels else [],
        "scalars": scalars,
    }
    return ("drums" if model.codec is None else "music_latent"), data


# By model type, the recipe and the values of its data; None: models of it are not fine-tuned here.
RECIPES: dict[str, Callable[[Any], tuple[str, dict[str, Any]]] | None] = {
    "vocoder": _vocoder,
    "audio": _audio,
    "codec": None,
    "acoustic": None,
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "hypernetwork": None,
    "upsampler": None,
    "restorer": None,
}


def configuration(
    model: PretrainedModel, init_from: str | Path, data: Sequence[str | Path], folder: str | Path, minutes: float
) -> DictConfig:
    """The configuration that trains a model further, for `audiodiff.train.run`.

    Args:
        model: to train.
        init_from: its checkpoint.
        data: manifests, or their folders.
        folder: of the run.
        minutes: of training.

    Raises:
        UserError: a type of model that has no recipe here.
    """
    recipe = RECIPES[model.TYPE]
    if recipe is None:
        known = " or ".join(kind for kind, found in RECIPES.items() if found)
        raise UserError(init_from, f"is a model of type {model.TYPE}", f"choose a model of type {known}")
    name, values = recipe(model)
    composed = config.compose([f"+recipe={name}", *_SHORT_RUN])
    OmegaConf.set_struct(composed, False)
    for group in _MODEL_GROUPS:
        composed.pop(group, None)
    composed.model = targets(model)
    composed.folder, composed.init_from, composed.codec = str(folder), str(init_from), str(init_from)
    composed.data = OmegaConf.merge(composed.data, values, {"path": [str(path) for path in data]})
    composed.trainer.max_time = {"seconds": round(60 * minutes)}
    return composed


def targets(value: Any) -> Any:
    """A component as a configuration: the import path and the constructor arguments, recursively.

    Args:
        value: a model, or a component of `models.checkpoint.TYPES`.
    """
    if isinstance(value, PretrainedModel):
        arguments = {name: _target(describe(getattr(value, name))) for name in value.ARGUMENTS}
        return {"_target_": _path(type(value))} | arguments
    return _target(describe(value))


def _target(described: Any) -> Any:
    if isinstance(described, dict):
        arguments = {name: _target(value) for name, value in described.items() if name != "type"}
        return {"_target_": _path(TYPES[described["type"]])} | arguments
    return [_target(item) for item in described] if isinstance(described, list) else described


def _path(component: type) -> str:
    return f"{component.__module__}.{component.__qualname__}"
