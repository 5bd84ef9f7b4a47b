"""`audiodiff evaluate`: a report on held-out recordings."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Data, Device, Model, Splits
from audiodiff.extras import require


def evaluate(
    model: Model,
    data: Data,
    report: Annotated[Path, typer.Option(help="Folder for the report, as a page and as JSON.")],
    steps: Annotated[int | None, typer.Option(help="Denoising steps (default: the model's own).")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler (default: the model's own).")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (default: 0).")] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of clips; for generators, how many to generate (default: all; 256)."),
    ] = None,
    split: Splits = None,
    device: Device = "auto",
    baselines: Annotated[bool, typer.Option(help="Also evaluate baselines that need no training.")] = True,
) -> None:
    """Evaluate a model on held-out recordings and write a report. Prints the report's path last."""
    require("metrics")
    require("report")
    from audiodiff.evaluation import registry
    from audiodiff.evaluation.held_out import Settings
    from audiodiff.evaluation.report import markdown
    from audiodiff.pipelines.pipeline import resolve_device

    settings = Settings(steps, sampler, seed, limit, tuple(split) if split else Settings.splits, baselines)
    result, page = registry.evaluate(model, data, report, settings, str(resolve_device(device)))
    print(markdown(result))
    print(page)
