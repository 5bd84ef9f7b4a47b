"""`audiodiff report`: what an average over clips hides."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Data, Device, Model, Splits
from audiodiff.errors import UserError
from audiodiff.extras import require

_Datas = Annotated[list[Path], typer.Option("--data", help="Manifest, or its folder; repeat for several.")]
_Folder = Annotated[Path, typer.Option("--report", help="Folder for the report, as a page and as JSON.")]
_Limit = Annotated[int | None, typer.Option(help="Maximum number of clips (default: all held-out ones).")]
_Steps = Annotated[int | None, typer.Option(help="Denoising steps (default: the model's own).")]


def report(context: typer.Context) -> None:
    """Report what an average over clips hides: `bias`, `uncertainty`."""
    if context.invoked_subcommand is None:
        raise UserError("report", "needs the name of a report", f"write one of {', '.join(SUBVERBS)} behind it")


def bias(
    model: Model,
    data: _Datas,
    folder: _Folder,
    speakers: Annotated[
        Path | None,
        typer.Option(help="CSV file with a column speaker and one for each attribute of speakers, such as sex."),
    ] = None,
    steps: _Steps = None,
    limit: _Limit = None,
    split: Splits = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    device: Device = "auto",
) -> None:
    """Report quality by speaker, language, pitch, loudness and what --speakers states. Prints the report's path last.

    For vocoders and voices.
    """
    require("metrics")
    require("report")
    from audiodiff.evaluation import registry
    from audiodiff.evaluation.bias import read_speakers
    from audiodiff.evaluation.held_out import Settings
    from audiodiff.evaluation.report import markdown
    from audiodiff.pipelines.pipeline import resolve_device

    known, splits = read_speakers(speakers), tuple(split) if split else Settings.splits
    settings = Settings(steps, None, seed, limit, splits, baselines=False)
    result, page = registry.examine_bias(model, data, folder, settings, known, str(resolve_device(device)))
    print(markdown(result))
    print(page)


def uncertainty(
    model: Model,
    data: Data,
    folder: _Folder,
    seeds: Annotated[int, typer.Option(help="Seeds of each clip (at least 2).")] = 8,
    steps: _Steps = None,
    limit: _Limit = 16,
    split: Splits = None,
    seed: Annotated[int, typer.Option(help="First random seed.")] = 0,
    device: Device = "auto",
) -> None:
    """Report how much the output varies with the seed, over time, frequency and segments.

    Prints the report's path last. For vocoders and voices.
    """
    require("metrics")
    require("report")
    from audiodiff.evaluation import registry
    from audiodiff.evaluation.held_out import Settings
    from audiodiff.evaluation.report import markdown
    from audiodiff.pipelines.pipeline import resolve_device

    settings = Settings(steps, None, seed, limit, tuple(split) if split else Settings.splits)
    result, page = registry.examine_uncertainty(model, data, folder, settings, seeds, str(resolve_device(device)))
    print(markdown(result))
    print(page)


SUBVERBS = {"bias": bias, "uncertainty": uncertainty}
