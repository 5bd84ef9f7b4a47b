"""`audiodiff export`: write a model in the format of another runtime."""

from pathlib import Path
from typing import Annotated

import typer

FORMATS = ("onnx",)


def export(
    model: Annotated[Path, typer.Argument(help="Model folder, or the name of a shipped model such as speech-16k.")],
    out: Annotated[Path, typer.Option(help="Output folder.")],
    format: Annotated[str, typer.Option(help="Format to export to: onnx.")] = "onnx",
    dtype: Annotated[str, typer.Option(help="Storage of the weights: float32, float16 or int8.")] = "float32",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported model.")] = False,
) -> None:
    """Export a model's network to run without PyTorch; a vocoder with a runner for NumPy and ONNX Runtime.

    The folder's README.md describes the interface and compares size, error and CPU time of all ways to store the
    weights.
    """
    from audiodiff.errors import UserError, did_you_mean

    if format not in FORMATS:
        fix = did_you_mean(format, FORMATS, f"choose one of {', '.join(FORMATS)}")
        raise UserError(f"format {format!r:.40}", "is unknown", fix)
    from audiodiff.export.onnx import export_onnx

    folder = export_onnx(model, out, dtype, overwrite)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")
