"""`audiodiff compress`: a smaller and faster version of a model."""

from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Splits
from audiodiff.extras import require


def compress(
    model: Annotated[Path, typer.Argument(help="Model folder, or the name of a shipped model such as speech-16k.")],
    data: Annotated[list[Path], typer.Option(help="Manifest to fine-tune on, or its folder; repeat for several.")],
    out: Annotated[Path, typer.Option(help="Output folder: the model is in its folder model, its export in onnx.")],
    prune: Annotated[
        float | None,
        typer.Option(
            help="Share of the inner channels of the network's blocks to remove, such as 0.3 (default: none)."
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(help="Also export to ONNX with weights in float32, float16 or int8 (default: no export)."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="Minutes of fine-tuning after pruning (0: none).")] = 10.0,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="Manifest to compare quality and speed on; repeat for several (default: those of --data)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of the comparison (default: the model's own).")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of clips; of a generator, how many to generate (default: 30; 256)."),
    ] = None,
    split: Splits = None,
) -> None:
    """Prune channels of a model, fine-tune it, quantize it, and compare quality, size and speed.

    Prints the table last, which is also in the model card of the result. Run again after Ctrl-C, it resumes.
    """
    require("train")
    require("metrics")
    if quantize is not None:
        require("onnx")
    from audiodiff.compression import Compression
    from audiodiff.compression import compress as run
    from audiodiff.evaluation.held_out import Settings

    settings = Settings(steps, None, None, limit, tuple(split) if split else Settings.splits)
    print(run(model, out, Compression(prune, quantize, data, held_out or (), minutes, settings)))
    print(out)
