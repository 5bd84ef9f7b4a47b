"""Options that several verbs share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Option(help="Model folder, or the name of a shipped model such as speech-16k.")]
Data = Annotated[Path, typer.Option(help="Manifest, or the folder that holds manifest.jsonl.")]
Splits = Annotated[
    list[str] | None, typer.Option("--split", help="Split to evaluate; repeat for several (default: validation, test).")
]
Device = Annotated[str, typer.Option(help="Device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 or mps.")]
Precision = Annotated[str, typer.Option(help="Precision of the network: float32, bfloat16 or float16.")]
