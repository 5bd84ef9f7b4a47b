"""`audiodiff restore`: recordings that are clipped, noisy or have gaps."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model, Precision, Settings, expand_options
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.rendering.options import ExecutionOptions, WriteOptions


@expand_options
def restore(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recordings, folders of these, manifest.jsonl, or tables (.csv, .tsv, .jsonl) with a column input; "
            "their other columns are name and the options below. All may be URLs, such as s3://bucket/folder."
        ),
    ] = None,
    *,
    model: Model = Path("restore-speech"),
    out: Annotated[
        str,
        typer.Option(
            help="Output folder, or a URL such as s3://bucket/folder; files keep their subfolders of an input folder."
        ),
    ] = "restored",
    options: RestorationOptions,
    files: WriteOptions,
    execution: ExecutionOptions,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Restore clipped peaks, fill gaps and remove noise, at the recordings' own sample rate.

    Samples that are known stay as they are, in the encoding of their file. Where restored peaks exceed full scale, the
    whole file is attenuated. Existing files are skipped: rerun the same command to resume.
    """
    from audiodiff.cli.output import print_outcome, render_reported
    from audiodiff.rendering.registry import Request
    from audiodiff.rendering.restoration import RestorationRenderer

    request = Request(
        inputs=inputs or [],
        out=out,
        options=options,
        files=files,
        command=RestorationRenderer.COMMAND,
        execution=execution,
        saved=settings,
        device=device,
        precision=precision,
    )
    print_outcome("restored", render_reported(model, request), out)
