"""`audiodiff upsample`: recordings of a low sample rate to a full band."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Precision, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.rendering.options import WriteOptions

MODELS = {16000: "upsample-speech", 44100: "upsample-sounds"}  # that are taken by the sample rate of the output


@expand_options
def upsample(
    inputs: Annotated[list[Path], typer.Argument(help="Recordings, folders of these, or manifest.jsonl.")],
    *,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or the name of a shipped model (default: upsample-speech for --to 16000, "
            "upsample-sounds for --to 44100)."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder; files keep their subfolders of an input folder.")] = Path(
        "upsampled"
    ),
    options: UpsamplingOptions,
    files: WriteOptions,
    to: Annotated[
        int | None, typer.Option(help="Sample rate of the output, in Hz, which the model must have (default: it).")
    ] = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Generate the upper band of recordings of a low sample rate, and keep the band that they have.

    Existing files are skipped: rerun the same command to resume.
    """
    from audiodiff.cli.output import ErrorReport, print_outcome, warnings_above_progress
    from audiodiff.models.onnx_export import is_export
    from audiodiff.pipelines.upsampler import Upsampler
    from audiodiff.rendering.inputs import find_inputs
    from audiodiff.rendering.upsampling import upsample

    if model is None:
        if to not in MODELS:
            subject = "--model" if to is None else f"--to {to}"
            problem = "is needed without --to" if to is None else "no shipped model upsamples to it"
            raise UserError(subject, problem, f"use --to {' or '.join(map(str, MODELS))}, or a --model of yours")
        model = Path(MODELS[to])
    report = ErrorReport()
    upsampler = Upsampler.from_pretrained(model, device, precision, "onnx" if is_export(model) else "torch")
    if to is not None and to != upsampler.sample_rate:
        problem = f"this model upsamples to {upsampler.sample_rate} Hz"
        raise UserError(f"--to {to}", problem, f"use --to {upsampler.sample_rate}, or another --model")
    with warnings_above_progress():
        outcome = upsample(upsampler, find_inputs(inputs, out, report), out, options, report, files)
    outcome.failed = report.count  # with the inputs that are none
    print_outcome("upsampled", outcome, out)
