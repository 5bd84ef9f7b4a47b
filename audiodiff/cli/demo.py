"""`audiodiff demo`: the Gradio demo, one page for all models."""

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
            help="Model folder, or the name of a shipped model, whose tab is open at the start (default: the newest "
            "exports under runs/ come first). Shipped models are there in any case."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port (default: the first free one from 7860 on).")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Adapter of one of the models, as DIR or DIR:SCALE: its tab has a slider from 0 to 1.5 for it, which "
            "begins there. Repeat for several.",
            metavar="<str>",
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(help="Memory that loaded models may take, in GB (default: half of what is free)."),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Open a public address by a tunnel through Gradio's servers.")
    ] = False,
    auth: Annotated[
        str | None, typer.Option(help="Name and password that visitors enter, as NAME:PASSWORD.", metavar="<str>")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path at which a proxy serves the page, such as /audiodiff.", metavar="<str>")
    ] = None,
    device: Device = "auto",
) -> None:
    """Start the Gradio demo: one page to speak, generate sounds and music, edit, resynthesize and compare.

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
    if memory is not None and not memory > 0:
        raise UserError(f"--memory {memory:g}", "must be above 0 GB", "leave it out for half of what is free")
    name, _, password = (auth or "").partition(":")
    if auth is not None and not (name and password):
        raise UserError("--auth", "is not NAME:PASSWORD", "write both, such as --auth ann:secret")
    launch(
        folder,
        host,
        port,
        device,
        guides,
        adapter or (),
        budget=None if memory is None else int(memory * 1e9),
        share=share,
        auth=(name, password) if auth else None,
        root_path=root_path,
    )
