"""`audiodiff blend`: a model between two models of one origin."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.model_folder import new_folder


def blend(
    model: Annotated[Path, typer.Argument(help="Model folder or name; its configuration is kept.")],
    other: Annotated[Path, typer.Argument(help="Model folder or name, such as what was fine-tuned from the first.")],
    share: Annotated[float, typer.Argument(help="Share of the second model (0 to 1).")],
    out: Annotated[Path, typer.Option(help="Output folder.")],
) -> None:
    """Average the weights of two models of one origin, such as a base and its fine-tuned version."""
    from audiodiff.models import checkpoint
    from audiodiff.models.blending import blend as blended

    target = new_folder(out)
    found = blended(checkpoint.load(model), checkpoint.load(other), share, other)
    names = f"{1 - share:g} of {Path(model).name} and {share:g} of {Path(other).name}"
    checkpoint.save(target, found, f"# {Path(out).name}\n\nThe average of {names}, by `audiodiff blend`.\n")
    print(target)
