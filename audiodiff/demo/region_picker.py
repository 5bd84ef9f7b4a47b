"""A waveform on which regions are chosen: by dragging, by touch, or by the keyboard.

Gradio's audio player has a waveform but reports no selection on it. This is a component of its own: Python gives it
the outline of a recording, the script beside this file draws it, and both sides exchange the regions as the text that
the field of regions holds.
"""

from typing import Any

import gradio as gr
import torch

from audiodiff.audio.io import Audio
from audiodiff.demo.component_files import script_and_style
from audiodiff.demo.controls import MAX_SECONDS
from audiodiff.demo.responses import show_errors
from audiodiff.demo.uploads import read_upload

COLUMNS = 600  # of an outline
EMPTY: dict[str, Any] = {"seconds": 0, "channels": [], "regions": ""}
_TEMPLATE = (
    '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="group" aria-label="Waveform with regions"></svg>'
    '<div class="ticks"></div><div class="hint"></div>'
)


def region_picker(elem_id: str) -> gr.HTML:
    """The component; its value is that of `outline`, its event `input` says that a visitor changed the regions."""
    return gr.HTML(EMPTY, html_template=_TEMPLATE, elem_id=elem_id, **script_and_style("region_picker"))


def link(picker: gr.HTML, regions: gr.Textbox) -> None:
    """Keep the regions of a picker and the text of a field equal, in the browser."""
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    picker.input(None, picker, regions, js="(value) => value.regions", **private)
    regions.change(None, [picker, regions], picker, js="(value, regions) => ({...value, regions})", **private)


def outline(audio: Audio) -> dict[str, Any]:
    """What is drawn of a recording (T,) or (C, T).

    Returns:
        `seconds`, `channels` as pairs of lists, the lowest and highest sample of each column, and no `regions`.
    """
    samples = torch.atleast_2d(audio.samples).clamp(-1, 1)
    columns = [part for part in samples.tensor_split(COLUMNS, dim=-1) if part.shape[-1]]
    ends = [(part.amin(1), part.amax(1)) for part in columns]
    lows, highs = (torch.stack(values, 1) for values in zip(*ends, strict=True))
    channels = [[_rounded(low), _rounded(high)] for low, high in zip(lows, highs, strict=True)]
    return {"seconds": round(audio.seconds, 6), "channels": channels, "regions": ""}


def show(path: str | None) -> tuple[dict[str, Any], str]:
    """A new recording of the visitor: its waveform, and no region."""
    if not path:
        return EMPTY, ""
    with show_errors():
        return outline(read_upload(path, MAX_SECONDS, channels=2)), ""


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 3) for value in values.tolist()]
