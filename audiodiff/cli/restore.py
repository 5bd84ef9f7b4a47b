"""`audiodiff restore`: recordings that are clipped, noisy or have gaps."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model, Precision, expand_options
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.rendering.options import WriteOptions


@expand_options
def restore(
    inputs: Annotated[list[Path], typer.Argument(help="Recordings, folders of these, or manifest.jsonl.")],
    *,
    model: Model = Path("restore-speech"),
    out: Annotated[Path, typer.Option(help="Output folder; files keep their subfolders of an input folder.")] = Path(
        "restored"
    ),
    options: RestorationOptions,
    files: WriteOptions,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Restore clipped peaks, fill gaps and remove noise, at the recordings' own sample rate.

    Samples that are known stay as they are, in the encoding of their file. Where restored peaks exceed full scale, the
    whole file is attenuated. Existing files are skipped: rerun the same command to resume.
    """
    from audiodiff.cli.output import ErrorReport, print_outcome, warnings_above_progress
    from audiodiff.models.onnx_export import is_export
    from audiodiff.pipelines.restorer import Restorer
    from audiodiff.rendering.inputs import find_inputs
    from audiodiff.rendering.restoration import restore

    report = ErrorReport()
    restorer = Restorer.from_pretrained(model, device, precision, "onnx" if is_export(model) else "torch")
    with warnings_above_progress():
        outcome = restore(restorer, find_inputs(inputs, out, report), out, options, report, files)
    outcome.failed = report.count  # with the inputs that are none
    print_outcome("restored", outcome, out)
