"""`audiodiff render`: render recordings and saved mels to audio."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model, Precision, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.rendering.options import FileOptions


@expand_options
def render(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings (copy synthesis), saved mels (.npy, .safetensors), folders of these, or manifest.jsonl."
        ),
    ],
    model: Model,
    out: Annotated[Path, typer.Option(help="Output folder; files keep their subfolders of an input folder.")],
    options: SynthesisOptions,
    files: FileOptions,
    mel_spec: Annotated[
        str | None, typer.Option(help="Mel spec of saved mels that carry none, such as hifigan_22k.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "float32",
    compile: Annotated[
        bool, typer.Option("--compile", help="Capture sampling in a CUDA graph (CUDA only); pays off for many clips.")
    ] = False,
) -> None:
    """Render recordings or saved mels to audio. Existing files are skipped: rerun the same command to resume."""
    from audiodiff.audio.mel import MelSpec
    from audiodiff.cli.output import print_outcome, report_error, warnings_above_progress
    from audiodiff.pipelines.vocoder import Vocoder
    from audiodiff.rendering.inputs import find_inputs
    from audiodiff.rendering.render import render

    spec, failed = None if mel_spec is None else MelSpec.preset(mel_spec), []

    def report(error: UserError) -> None:
        failed.append(error)
        report_error(error)

    vocoder = Vocoder.from_pretrained(model, device, precision, compile=compile)
    with warnings_above_progress():
        outcome = render(vocoder, find_inputs(inputs, out, report), out, options, report, files, spec)
    outcome.failed = len(failed)  # with the inputs that are none
    print_outcome("rendered", outcome, out)
