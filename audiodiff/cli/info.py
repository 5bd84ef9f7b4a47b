"""`audiodiff info`: what a checkpoint folder is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    model: Annotated[
        Path, typer.Argument(help="Checkpoint folder, such as runs/speech_mel/<date_time>/model, or a shipped model.")
    ],
) -> None:
    """Show what a model is: parts, mel spec, sampler, training, size, hash. The weights are loaded and fitted too."""
    for name, value in facts(model):
        typer.echo(f"{name:12}  {value}")


def facts(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, value) of everything that is known of a checkpoint, in reading order.

    Raises:
        UserError: the folder is missing, damaged, or its weights do not fit its configuration.
    """
    from audiodiff.models import checkpoint
    from audiodiff.models.registry import MODEL_TYPES
    from audiodiff.models.vocoder_model import VocoderModel

    folder = checkpoint.locate(folder)
    found = checkpoint.load(folder)
    model = MODEL_TYPES.get(found.type, VocoderModel).from_checkpoint(found, folder)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    yield "folder", str(folder)
    yield "type", model.TYPE
    yield "parameters", f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    yield "size", f"{size / 1e6:.1f} MB, weights in {found.stored}"
    yield "hash", found.digest
    for name in model.ARGUMENTS:
        if name != "grids":
            yield name, written(checkpoint.describe(getattr(model, name)))
    for grid in getattr(model, "grids", ()):
        yield "grid", f"{grid.sampler}, {grid.steps} calls: {' '.join(f'{t:.4g}' for t in grid.times)}"
    for name, value in found.training.items():
        yield "training", f"{name} = {written(value)}"


def written(value: Any) -> str:
    """A described component as the call that makes it, a plain value as it is."""
    if isinstance(value, dict):
        arguments = ", ".join(f"{name}={written(item)}" for name, item in value.items() if name != "type")
        return f"{value['type']}({arguments})" if "type" in value else arguments
    return str(value)
