"""`audiodiff demo`: the page on which one listens to a model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from audiodiff.extras import require


def demo(
    model: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint folder or shipped model; without it the newest export under runs/, else a shipped one."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; without it the first free one from 7860 on.")] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Open a page: with a vocoder for recordings and saved mels, with a model of music for clips from nothing."""
    require("demo")
    # Nothing about a visit leaves this machine.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from audiodiff.demo import launch
    from audiodiff.errors import UserError
    from audiodiff.models.checkpoint import locate

    folder = None if model is None else locate(model)
    if folder is not None and not (folder / "config.json").is_file():
        raise UserError(folder, "is no model folder (no config.json)", "give the `model` folder of a training run")
    launch(folder, host, port, device)
