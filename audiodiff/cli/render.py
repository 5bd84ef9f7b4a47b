"""`audiodiff render`: recordings, saved mels, texts and prompts to audio files."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, Precision, Settings, expand_options
from audiodiff.errors import UserError
from audiodiff.rendering.options import ExecutionOptions, FileOptions, RenderOptions


@expand_options
def render(
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or the name of a shipped model such as speech-16k; not needed with --settings."
        ),
    ] = None,
    *,
    out: Annotated[
        str,
        typer.Option(
            help="Output folder, or a URL such as s3://bucket/folder; files keep their subfolders of an input folder, "
            "texts become 0001.wav and on."
        ),
    ],
    options: RenderOptions,
    files: FileOptions,
    execution: ExecutionOptions,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="For a vocoder: recordings (copy synthesis), saved mels (.npy, .safetensors), folders of these, "
            "manifest.jsonl, or tables with a column input. For a voice: texts with a clip a line (.txt), tables with "
            "a column text, or a manifest. For an audio generator: prompts a line, tables, a manifest of captions, "
            "or nothing. Tables are .csv, .tsv or .jsonl; their other columns are name and the options below. "
            "All may be URLs, such as s3://bucket/folder."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            help="Clips of each row, input or text, named NAME-0, NAME-1 and so on; without inputs, of an audio "
            "generator (default: 1)."
        ),
    ] = None,
    mel_spec: Annotated[
        str | None, typer.Option(help="Mel spec of saved mels that carry none, such as hifigan_22k.")
    ] = None,
    convert_mel: Annotated[
        bool,
        typer.Option(
            "--convert-mel",
            help="Also accept saved mels of another transform or other bands, such as hifigan_22k, by approximate "
            "conversion.",
        ),
    ] = False,
    vocoder: Annotated[
        Path | None, typer.Option(help="Vocoder of a voice, folder or name (default: the one that the voice names).")
    ] = None,
    lexicon: Annotated[Path | None, typer.Option(help="CSV file of word,phonemes for a voice.")] = None,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "float32",
    compile: Annotated[
        bool, typer.Option("--compile", help="Capture sampling in a CUDA graph (CUDA only); pays off for many clips.")
    ] = False,
) -> None:
    """Render recordings, mels, texts or prompts to audio. Existing files are skipped: run it again to resume."""
    from audiodiff.cli.output import print_outcome, render_reported
    from audiodiff.rendering.registry import Request

    if model is None:
        raise UserError("--model", "is missing", "add --model DIR, or the name of a shipped model such as speech-16k")
    request = Request(
        inputs=inputs or [],
        out=out,
        options=options,
        files=files,
        execution=execution,
        count=count,
        saved=settings,
        mel_spec=mel_spec,
        convert_mel=convert_mel,
        vocoder=vocoder,
        lexicon=lexicon,
        device=device,
        precision=precision,
        compile=compile,
    )
    print_outcome("rendered", render_reported(model, request), out)
