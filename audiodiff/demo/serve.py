"""Serving the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from audiodiff.demo.page import build
from audiodiff.demo.uploads import MAX_MEGABYTES
from audiodiff.errors import UserError
from audiodiff.pipelines.guidance_options import GuideModels

# The visitor's own fonts: the page requests nothing from other hosts.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
    # Darker than the theme's own, for contrasts of 4.5 (text) and 3 (boundaries of controls).
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    input_border_color="*neutral_400",
    input_border_width="1px",
    block_title_text_color="*primary_700",
    block_label_text_color="*primary_700",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)
SESSIONS = 64  # visits that the server remembers controls of; Gradio keeps some megabytes for each
STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))
# Options of `gr.Blocks.launch`, wherever the page is served.
OPTIONS: dict[str, Any] = {
    "theme": THEME,
    "css": STYLE.read_text(encoding="utf-8"),
    "js": SCRIPT.read_text(encoding="utf-8"),
    "footer_links": ["api"],
    "max_file_size": f"{MAX_MEGABYTES}mb",
    "ssr_mode": False,
    "state_session_capacity": SESSIONS,
}


def launch(
    folder: str | Path | None,
    host: str,
    port: int | None,
    device: str,
    guides: GuideModels | None = None,
    adapters: Sequence[str] = (),
    budget: int | None = None,
    share: bool = False,
    auth: tuple[str, str] | None = None,
    root_path: str | None = None,
) -> None:
    """Build the page and serve it until Ctrl-C.

    Args:
        folder, device, guides, adapters, budget: as of `build`.
        host: address to serve on.
        port: None: the first free one from 7860 on.
        share: open a public address by a tunnel through Gradio's servers.
        auth: the name and password that visitors enter.
        root_path: where a proxy serves the page, such as "/audiodiff".

    Raises:
        UserError: as `build`, or the port is taken.
    """
    page = build(folder, device=device, guides=guides, adapters=adapters, budget=budget)
    try:
        page.launch(server_name=host, server_port=port, share=share, auth=auth, root_path=root_path, **OPTIONS)
    except OSError as error:
        raise UserError(f"{host}:{port}", "cannot be served from", "choose another --port or --host") from error
    except ValueError as error:  # Gradio could not reach its own page
        raise UserError(f"{host}:{port}", "cannot be reached from here", "try again, or another --host") from error
