"""`audiodiff render`: recordings and saved mels become audio."""

from pathlib import Path
from typing import Annotated

import typer


def render(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings (copy synthesis), saved mels (.npy, .safetensors), folders of these, manifest.jsonl."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Folder of the model, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Folder for the audio; inputs keep their relative folders below it.")],
    steps: Annotated[int | None, typer.Option(help="Network calls a clip; the model's own if left out.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Name of the sampler; the model's own if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of all noise; every clip gets its own, drawn by its name.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Clips at once; results may differ in the last bit.")] = 8,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of the network: float32, bfloat16, float16.")] = "float32",
    format: Annotated[str, typer.Option(help="Of the files: wav, flac.")] = "wav",
    mel_spec: Annotated[
        str | None, typer.Option(help="Preset that saved mels follow whose files do not say, such as hifigan_22k.")
    ] = None,
    consistency: Annotated[
        int | None, typer.Option(help="Iterations of mel consistency; the model's own if left out, 0 for none.")
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Replay whole calls on a CUDA device: for many clips.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Render again what is there already.")] = False,
) -> None:
    """Render audio; what is there already is kept, so the same command goes on where it was stopped."""
    import sys
    import warnings

    from tqdm import tqdm

    from audiodiff.audio.mel import MelSpec
    from audiodiff.errors import UserError
    from audiodiff.pipelines.vocoder import Vocoder
    from audiodiff.rendering import inputs as rendering_inputs
    from audiodiff.rendering import render as rendering
    from audiodiff.rendering.jobs import FileOptions

    def say(line: object) -> None:
        # Above the progress bar, not through it.
        tqdm.write(str(line), file=sys.stderr)

    problems = []

    def report(error: UserError) -> None:
        problems.append(error)
        say(f"error: {error}")

    spec = None if mel_spec is None else MelSpec.preset(mel_spec)
    vocoder = Vocoder.from_pretrained(model, device, precision, compile=compile)
    calls = vocoder.model.calls if steps is None else steps
    options = rendering.SynthesisOptions(steps=calls, sampler=sampler, seed=seed, consistency=consistency)
    files = FileOptions(batch_size=batch_size, format=format, overwrite=overwrite)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        found = rendering_inputs.find_inputs(inputs, out, report)
        outcome = rendering.render(vocoder, found, out, options, report, files, spec)
    failed = f", {len(problems)} failed" if problems else ""
    print(f"{outcome.written} rendered, {outcome.skipped} skipped (exist){failed}: {out}")
    if problems:
        raise typer.Exit(1)
