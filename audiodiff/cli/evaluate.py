"""`audiodiff evaluate`: a report on held-out recordings."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.benchmark import numbers
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
    embedding: Annotated[
        str,
        typer.Option(
            help="Audio-text model that scores prompts, of a generator that takes them; another one than guided it "
            "(default: audio-text)."
        ),
    ] = "",
    guidance_scales: Annotated[
        str, typer.Option(help="Guidance scales of prompts, separated by commas, besides the model's own.")
    ] = "",
    device: Device = "auto",
    baselines: Annotated[bool, typer.Option(help="Also evaluate baselines that need no training.")] = True,
) -> None:
    """Evaluate a model on held-out recordings and write a report. Prints the report's path last."""
    require("report")
    from audiodiff.evaluation import registry
    from audiodiff.evaluation.held_out import Settings
    from audiodiff.evaluation.report import markdown
    from audiodiff.pipelines.pipeline import resolve_device

    splits, scales = tuple(split) if split else Settings.splits, numbers("--guidance-scales", guidance_scales, float)
    settings = Settings(steps, sampler, seed, limit, splits, baselines, embedding, scales)
    result, page = registry.evaluate(model, data, report, settings, str(resolve_device(device)))
    print(markdown(result))
    print(page)
