"""Endpoints of the demo: values of any kind in place of those that the page sends, in this process."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import tiny_models
import torch
from fuzzing.command_lines import generator
from fuzzing.mutation import PIECES, mutate_bytes, mutate_name, mutate_text

from audiodiff.audio import io as audio_io
from audiodiff.audio.io import Audio
from audiodiff.errors import UserError

# Small numbers, since what is requested is made, and such as no control can send.
NUMBERS = (0, 1, 2, 3, -1, 0.5, 1e-9, float("nan"), float("inf"), -float("inf"), 1e308, 10**400, 2**63, True, False)
OTHERS = (None, [], [[]], {}, {"path": "/etc/passwd"}, ["kick"], ["kick", "snare", None], [1, 2], "2", "nan", "1e999")
WORDS = (
    "kick",
    "ddim",
    "dpmpp_2m",
    "flac",
    "0:0.1",
    "0-0.1",
    "auto",
    "a kick drum",
    "Hello.",
    "in/a.wav",
    "in/missing",
)
VALID: dict[str, Any] = {"seconds": 0.1, "text": "Hello.", "consistency": 0, "regions": "0:0.1", "declip": True}
LONGEST = 1000  # characters of an error


def endpoints(folder: Path) -> Callable[[Random, Path], None]:
    """Requests of every endpoint of tasks with small models: a result, or an error of one line."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    tabs = _tabs(folder)
    audio_io.write(folder / "a.wav", Audio(torch.sin(torch.arange(3000) * 0.1) * 0.3, 8000))
    recording = (folder / "a.wav").read_bytes()

    def case(draw: Random, here: Path) -> None:
        os.environ["GRADIO_TEMP_DIR"] = str(here)
        (here / "in").mkdir()
        (here / "in" / "a.wav").write_bytes(mutate_bytes(recording, draw) if draw.random() < 0.3 else recording)
        tab = draw.choice(tabs)
        values = tab.defaults | {"steps": 2} if "steps" in tab.defaults else dict(tab.defaults)
        values |= {name: value for name, value in VALID.items() if name in values}
        if "recording" in values:
            values["recording"] = str(here / "in" / "a.wav")
        for _ in range(draw.choice((0, 1, 1, 2, 4))):
            values[draw.choice(list(values))] = _value(draw)
        try:
            for shown in tab.run(*values.values(), lambda *_, **__: None):
                assert len(shown) == 3
        except gr.Error as error:
            message = str(error.message)
            assert not message.startswith("Internal error"), repr(error.__cause__)
            assert "\n" not in message and len(message) < LONGEST, message
            raise UserError("request", "is refused", "correct it") from error

    return case


def _value(draw: Random) -> Any:
    one = draw.choice((draw.choice(NUMBERS), draw.choice(OTHERS), draw.choice(PIECES), draw.choice(WORDS)))
    return draw.choice((one, one, one, mutate_name(draw), mutate_text("Hello there, (kick:1.2).", draw), [one]))


def _tabs(folder: Path) -> list:
    """The tabs of tasks of small models, each model its tab's first."""
    from audiodiff.demo.catalog import Catalog
    from audiodiff.demo.model_store import ModelStore
    from audiodiff.demo.page import task_tabs
    from audiodiff.demo.tasks import KINDS

    models = {
        "generator": generator(),
        "vocoder": tiny_models.make_model(),
        "voice": tiny_models.make_acoustic(),
        "upsampler": tiny_models.random_upsampler(),
        "restorer": tiny_models.random_restorer(),
    }
    found = []
    for name, model in models.items():
        model.save_pretrained(folder / name, {"steps": 1, "licenses": ["MIT"]}, f"# {name}\n")  # type: ignore[attr-defined]
        catalog = Catalog.find(KINDS, str(folder / name), folder / "runs")
        given = catalog.offers[0]
        found += [tab for tab in task_tabs(catalog, ModelStore(catalog), given) if given in tab.offers]
    return found
