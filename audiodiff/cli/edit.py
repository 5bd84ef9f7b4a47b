"""`audiodiff edit`: change parts of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Model, Precision, Settings, expand_options
from audiodiff.errors import UserError
from audiodiff.pipelines.edit_options import EditConfig


@expand_options
def edit(
    file: Annotated[Path | None, typer.Argument(help="Audio file to edit; it stays as it is.")] = None,
    *,
    model: Model = Path("sounds"),
    config: EditConfig,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, in the format of the input, WAV or FLAC (default: NAME-edited, here)."),
    ] = None,
    variations: Annotated[int, typer.Option(help="Number of variations, numbered behind the name (at least 1).")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    watermark: Annotated[
        bool, typer.Option(help="Embed an inaudible watermark in what is changed, which `audiodiff info` finds.")
    ] = False,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Change parts of a recording: every other sample of the file is copied. Rerun to resume."""
    from audiodiff.audio.reading.audio_file import AudioFile
    from audiodiff.cli.output import print_outcome, warnings_above_progress
    from audiodiff.pipelines.audio_editor import AudioEditor
    from audiodiff.rendering.editing import edit_file

    if file is None and settings is not None and settings.inputs:
        file = Path(settings.inputs[0])
    if file is None:
        raise UserError("FILE", "is missing", "name the recording to edit")
    AudioFile(file).close()  # says what is wrong with it before the model is loaded
    with warnings_above_progress():
        editor = AudioEditor.from_pretrained(model, device, precision)
        outcome, paths = edit_file(editor, file, config, out, variations, overwrite, watermark, saved=settings)
    print_outcome("edited", outcome, paths[0] if len(paths) == 1 else paths[0].parent)
