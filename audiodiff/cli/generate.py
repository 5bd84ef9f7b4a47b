"""`audiodiff generate`: generate audio clips."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model, Precision, Settings, expand_options
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.rendering.options import ExecutionOptions, FileOptions


@expand_options
def generate(
    *,
    model: Model = Path("sounds"),
    config: GenerationConfig,
    files: FileOptions,
    execution: ExecutionOptions,
    out: Annotated[
        str, typer.Option(help="Output folder, or a URL such as s3://bucket/folder, for 0000.wav and so on.")
    ] = "clips",
    count: Annotated[int, typer.Option(help="Number of clips (at least 1).")] = 1,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Generate audio clips. Existing files are skipped: rerun the same command to resume."""
    from audiodiff.cli.output import print_outcome, render_reported
    from audiodiff.rendering.generation import COMMAND
    from audiodiff.rendering.registry import Request

    request = Request(
        inputs=[],
        out=out,
        options=config,
        files=files,
        command=COMMAND,
        execution=execution,
        count=count,
        saved=settings,
        device=device,
        precision=precision,
    )
    outcome = render_reported(model, request)
    length = "" if outcome.seconds is None else f", {outcome.seconds:.2f} s each"
    rounded = " (rounded to whole frames for a seamless loop)" if length and config.loop else ""
    print_outcome("generated", outcome, out, length + rounded)
