"""Which page a model has, and serving it."""

from pathlib import Path

import gradio as gr

from audiodiff.demo import generator_page, vocoder_page
from audiodiff.demo.sources import MAX_MEGABYTES
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.checkpoint import locate, type_of

# Fonts of the visitor's own: the page asks no other host for anything.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
# How a page is launched, wherever.
OPTIONS = {"theme": THEME, "footer_links": ["api"], "max_file_size": f"{MAX_MEGABYTES}mb"}


def build(folder: str | Path | None = None, runs: str | Path = "runs", device: str = "cpu") -> gr.Blocks:
    """The page of a checkpoint `folder` (or the name of a shipped model): of a vocoder, or of a model of music.

    Without a folder it is that of the newest vocoder below `runs`, else of a shipped one.
    """
    if folder is not None and type_of(locate(folder)) == AudioModel.TYPE:
        return generator_page.build(locate(folder), device)
    return vocoder_page.build(folder, runs, device)


def launch(folder: str | Path | None, host: str, port: int | None, device: str) -> None:
    """Build the page and serve it until Ctrl-C.

    Raises:
        UserError: the port is taken.
    """
    try:
        build(folder, device=device).launch(server_name=host, server_port=port, **OPTIONS)
    except OSError as error:
        raise UserError(f"{host}:{port}", "cannot be served from", "choose another --port or --host") from error
