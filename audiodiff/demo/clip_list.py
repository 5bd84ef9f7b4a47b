"""The list of results: a player for each clip, below its waveform and spectrogram; and what forms while one waits.

Gradio's audio component is one player; requests here have up to 16 clips. This is a component of its own: Python gives
it files and pictures, the script beside this file draws them. Programs get the files from another output.
"""

import base64
import io
from abc import ABCMeta
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import soundfile

from audiodiff.audio.io import Audio
from audiodiff.demo.clip_files import spread_file
from audiodiff.demo.component_files import script_and_style
from audiodiff.demo.picture import mel_picture, picture
from audiodiff.demo.task import Clip
from audiodiff.pipelines.pipeline import Progress

EMPTY: dict[str, Any] = {"clips": [], "forming": None, "error": ""}


class _WithoutStub(type(gr.HTML)):  # type: ignore[misc]
    """The metaclass of components; Gradio's own writes a .pyi file beside the source of every component."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        return ABCMeta.__new__(mcs, name, bases, namespace)


class ClipList(gr.HTML, metaclass=_WithoutStub):
    """The component; its value is that of `listed`, `forming` or `failed`. Programs do not see it."""

    @property
    def skip_api(self) -> bool:
        """Programs get files and settings."""
        return True

    def get_block_name(self) -> str:
        """The component of the browser that draws it."""
        return "html"


def clip_list(elem_id: str, hint: str = "") -> ClipList:
    """An empty list, which shows a hint."""
    template = f'<div class="list" role="group" aria-label="Results" data-hint="{hint}"></div>'
    return ClipList(EMPTY, html_template=template, elem_id=elem_id, **script_and_style("clip_list"))


def failed(message: str) -> dict[str, Any]:
    """The value for an error, which stays until the next request."""
    return EMPTY | {"error": message}


def listed(clips: Sequence[Clip], files: Sequence[Path]) -> dict[str, Any]:
    """The value for finished clips.

    Args:
        clips: what to show.
        files: that hold them; recordings of the visitor are played, but not offered.
    """
    shown = []
    for clip, file in zip(clips, files, strict=True):
        rate, seconds = clip.audio.sample_rate, clip.audio.seconds
        one = {"title": clip.title, "seconds": round(seconds, 3), "rate": rate, "picture": picture(clip.audio)}
        one["marks"] = [[round(mark.start, 3), round(mark.end, 3), mark.text] for mark in clip.marks]
        if clip.settings is not None:
            one["name"] = file.name
        if clip.spread is not None:
            one["spread"] = _file(spread_file(file))
        shown.append(one | {"audio": _file(file)})
    return EMPTY | {"clips": shown}


def forming(progress: Progress, audible: bool) -> dict[str, Any] | None:
    """The value for a clip as the model estimates it after a step; None: nothing is known of it.

    Args:
        progress: of sampling; within its callback.
        audible: send the sound, too, where it is the sound that forms.
    """
    head = {"done": progress.done, "total": progress.total}
    if progress.mel is not None:
        return EMPTY | {"forming": head | {"picture": mel_picture(progress.mel)}}
    if progress.estimate is None:
        return None
    audio = progress.estimate()
    sound = {"audio": _data_url(audio)} if audible else {}
    return EMPTY | {"forming": head | {"picture": picture(audio)} | sound}


def _file(path: Path) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": path.name}


def _data_url(audio: Audio) -> str:
    file = io.BytesIO()
    soundfile.write(file, audio.samples.clamp(-1, 1).numpy().T, audio.sample_rate, "PCM_16", format="WAV")
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()
