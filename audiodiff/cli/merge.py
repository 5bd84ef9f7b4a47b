"""`audiodiff merge`: a model of its own from a model and its adapters."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.model_folder import new_folder


def merge(
    model: Annotated[Path, typer.Argument(help="Model folder, or the name of a shipped model such as sounds.")],
    adapters: Annotated[
        list[str],
        typer.Option(
            "--adapter", help="Adapter of the model, as DIR or DIR:SCALE; repeat for several.", metavar="<str>"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output folder.")],
) -> None:
    """Merge adapters into a model of its own, which needs neither them nor its base."""
    from audiodiff.models import checkpoint
    from audiodiff.models.adapted import merge as merged
    from audiodiff.models.registry import load_model
    from audiodiff.models.training_record import with_adapters
    from audiodiff.pipelines.adapter_options import load_adapters

    target, applied = new_folder(out), load_adapters(adapters)
    found = checkpoint.load(model)
    result = merged(load_model(found, model).requires_grad_(False), applied)
    names = ", ".join(f"{Path(one.adapter.folder).name} at {one.scale:g}" for one in applied)
    card = f"# {Path(model).name} with adapters\n\n{Path(model).name}, merged with {names} by `audiodiff merge`.\n"
    result.save_pretrained(target, with_adapters(found.training, [one.adapter.training for one in applied]), card)
    print(target)
