"""`audiodiff upsample`: recordings of a low sample rate to a full band."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Precision, Settings, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.rendering.options import ExecutionOptions, FinishOptions

MODELS = {16000: "upsample-speech", 44100: "upsample-sounds"}  # that are taken by the sample rate of the output


@expand_options
def upsample(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recordings, folders of these, manifest.jsonl, or tables (.csv, .tsv, .jsonl) with a column input; "
            "their other columns are name and the options below. All may be URLs, such as s3://bucket/folder."
        ),
    ] = None,
    *,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or the name of a shipped model (default: upsample-speech for --to 16000, "
            "upsample-sounds for --to 44100)."
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            help="Output folder, or a URL such as s3://bucket/folder; files keep their subfolders of an input folder."
        ),
    ] = "upsampled",
    options: UpsamplingOptions,
    files: FinishOptions,
    execution: ExecutionOptions,
    to: Annotated[
        int | None, typer.Option(help="Sample rate of the output, in Hz, which the model must have (default: it).")
    ] = None,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Generate the upper band of recordings of a low sample rate, and keep the band that they have.

    Existing files are skipped: rerun the same command to resume.
    """
    from audiodiff.cli.output import print_outcome, render_reported
    from audiodiff.rendering.registry import Request
    from audiodiff.rendering.upsampling import UpsamplingRenderer

    if model is None:
        if to not in MODELS:
            subject = "--model" if to is None else f"--to {to}"
            problem = "is needed without --to" if to is None else "no shipped model upsamples to it"
            raise UserError(subject, problem, f"use --to {' or '.join(map(str, MODELS))}, or a --model of yours")
        model = Path(MODELS[to])
    request = Request(
        inputs=inputs or [],
        out=out,
        options=options,
        files=files,
        command=UpsamplingRenderer.COMMAND,
        execution=execution,
        saved=settings,
        to=to,
        device=device,
        precision=precision,
    )
    print_outcome("upsampled", render_reported(model, request), out)
