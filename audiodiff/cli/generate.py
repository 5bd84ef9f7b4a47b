"""`audiodiff generate`: generate audio clips."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model, Precision, expand_options
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.rendering.options import FileOptions


@expand_options
def generate(
    *,
    model: Model = Path("sounds"),
    config: GenerationConfig,
    files: FileOptions,
    out: Annotated[Path, typer.Option(help="Output folder, for 0000.wav and so on.")] = Path("clips"),
    count: Annotated[int, typer.Option(help="Number of clips (at least 1).")] = 1,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Generate audio clips. Existing files are skipped: rerun the same command to resume."""
    from audiodiff.cli.output import print_outcome, report_error
    from audiodiff.pipelines.audio_generator import AudioGenerator
    from audiodiff.rendering import generation

    generator = AudioGenerator.from_pretrained(model, device, precision)
    outcome = generation.generate(generator, out, config, count, files, report=report_error)
    length = "" if outcome.seconds is None else f", {outcome.seconds:.2f} s each"
    rounded = " (rounded to whole frames for a seamless loop)" if length and config.loop else ""
    print_outcome("generated", outcome, out, length + rounded)
