"""`audiodiff generate`: clips from nothing."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    model: Annotated[Path, typer.Option(help="Folder of the model, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Folder for the clips, 0000.wav and on.")] = Path("clips"),
    count: Annotated[int, typer.Option(help="How many clips.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(help="Length of each; what the model was trained on if left out.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Network calls a clip; the model's own if left out.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Name of the sampler; the model's own if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of all noise; clip i of a seed is the same in any count.")] = 0,
    label: Annotated[
        list[str] | None, typer.Option(help="What the clips are to be, of the model's labels, repeatable.")
    ] = None,
    tempo: Annotated[float | None, typer.Option(help="Beats a minute, if the model is told them.")] = None,
    guidance: Annotated[
        float, typer.Option(help="Weight of label and tempo: 1 as trained, 2 to 4 exaggerate them.")
    ] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Make clips whose end leads to their beginning.")] = False,
    after: Annotated[Path | None, typer.Option(help="An audio file to go on with for so many seconds.")] = None,
    like: Annotated[Path | None, typer.Option(help="An audio file to vary.")] = None,
    strength: Annotated[float, typer.Option(help="How far variations go: 0.2 is near, 1 is anywhere.")] = 0.5,
    peak: Annotated[float, typer.Option(help="Of each clip, of full scale; 0: as it comes.")] = 0.9,
    batch_size: Annotated[int, typer.Option(help="Clips at once; results may differ in the last bit.")] = 8,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of the network: float32, bfloat16, float16.")] = "float32",
    format: Annotated[str, typer.Option(help="Of the files: wav, flac.")] = "wav",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Generate again what is there already.")] = False,
) -> None:
    """Generate clips; what is there already is kept, so the same command goes on where it was stopped."""
    import sys

    from tqdm import tqdm

    from audiodiff.audio.io import read
    from audiodiff.errors import UserError
    from audiodiff.pipelines.audio_generator import AudioGenerator, UnfitClip
    from audiodiff.pipelines.options import GenerationConfig
    from audiodiff.rendering import generation
    from audiodiff.rendering.jobs import FileOptions

    def report(error: UserError) -> None:
        tqdm.write(f"error: {error}", file=sys.stderr)  # above the progress bar, not through it

    prompts = {
        name: read(path, channels=2) if path else None
        for name, path in (("continue_from", after), ("init_audio", like))
    }
    config = GenerationConfig(
        seconds=seconds,
        steps=steps,
        sampler=sampler,
        seed=seed,
        loop=loop,
        peak_level=peak,
        conditions={"labels": label or (), "tempo": tempo},
        guidance_scale=guidance,
        init_noise_level=strength,
        **prompts,
    )
    files = FileOptions(batch_size=batch_size, format=format, overwrite=overwrite)
    generator = AudioGenerator.from_pretrained(model, device, precision)
    try:
        outcome = generation.generate(generator, out, config, count, files, report=report)
    except UnfitClip as error:
        raise UserError(after or like, error.problem, error.fix) from error
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    print(f"{outcome.written} generated, {outcome.skipped} skipped (exist){failed}: {out}")
    if outcome.failed:
        raise typer.Exit(1)
