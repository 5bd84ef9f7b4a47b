"""`audiodiff demo`: the Gradio demo of a model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from audiodiff.cli.options import Device, expand_options
from audiodiff.extras import require
from audiodiff.pipelines.guidance_options import GuideModels


@expand_options
def demo(
    guides: GuideModels,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder, or the name of a shipped model (default: newest vocoder under runs/, else a shipped "
            "vocoder)."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port (default: the first free one from 7860 on).")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Adapter of the model, as DIR or DIR:SCALE: the page has a slider from 0 to 1.5 for it, which begins "
            "there. Repeat for several.",
            metavar="<str>",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Start the Gradio demo: resynthesis for a vocoder, generation and editing for an audio generator.

    Guides that are named here can be chosen on the page, beside those that are shipped; of adapters, only these.
    """
    require("demo")
    # Gradio reads this when it is imported: it sends nothing anywhere.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from audiodiff.demo import launch
    from audiodiff.errors import UserError
    from audiodiff.models.checkpoint import locate

    folder = None if model is None else locate(model)
    if folder is not None and not (folder / "config.json").is_file():
        raise UserError(folder, "is not a model folder (no config.json)", "give the `model` folder of a training run")
    launch(folder, host, port, device, guides, adapter or ())
