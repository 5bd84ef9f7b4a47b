"""The tab that edits a recording: a region on its waveform, options on the left, the edited recording on the right."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

import gradio as gr
import torch

from audiodiff.demo.adapter_menu import AdapterMenu
from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.controls import MAX_SECONDS, control, defaults, limited, named, parse
from audiodiff.demo.figure import spectrum_figure
from audiodiff.demo.guide_menu import NONE, GuideMenu, without_idle_scale
from audiodiff.demo.region_picker import EMPTY, link, outline, region_picker
from audiodiff.demo.responses import player, show_errors, stopwatch, with_warnings
from audiodiff.demo.uploads import read_upload
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of
from audiodiff.pipelines.audio_editor import AudioEditor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.edit_options import EditConfig

DEFAULTS = defaults(EditConfig) | {"regions": ""}
SHOWN = ("regions", "noise_level", "extend_left", "extend_right", "fill_gaps", "band")  # above the others


class EditorTab:
    """The controls and the endpoint `/edit` of the tab.

    Args:
        generator: loads the page's model.
        conditions: of the model.
        lock: of the model.
        menu: of guides.
        adapters: of the model.
    """

    def __init__(
        self,
        generator: Callable[[], AudioGenerator],
        conditions: dict[str, Option],
        lock: Lock,
        menu: GuideMenu | None = None,
        adapters: AdapterMenu | None = None,
    ):
        self.generator, self.conditions, self.lock = generator, conditions, lock
        self.menu, self.adapters = menu or GuideMenu(), adapters or AdapterMenu()

    @cached_property
    def editor(self) -> AudioEditor:
        """The page's model as an editor."""
        found = self.generator()
        return AudioEditor(found.model, found.device, found.precision, found.model_hash, found.training)

    @cached_property
    def reading(self) -> dict[str, Option]:
        """The conditions that the model or a guide reads."""
        return self.menu.conditions(self.conditions)

    @cached_property
    def options(self) -> dict[str, Option]:
        """All options of the tab, in order: those of `EditConfig`, and the conditions: wanted, and of the clip."""
        options = self.menu.options(options_of(EditConfig), self.conditions)
        ordered = {name: options.pop(name) for name in SHOWN}
        now = {f"from_{name}": _current(option) for name, option in self.conditions.items()}
        ordered["regions"] = replace(ordered["regions"], multiple=False, help="START:END in seconds, after commas.")
        return limited(ordered | self.reading | now | self.adapters.options | options, {"sampler": NAMES})

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of all options."""
        return DEFAULTS | self.adapters.defaults

    def build(self) -> None:
        """Lay out the tab."""
        model, controls = self.generator().model, {}
        begin = self.defaults | {"steps": model.default_steps, "sampler": model.sampler}
        begin |= dict.fromkeys(self.menu.folders, NONE)
        with gr.Row():
            with gr.Column(scale=2):
                recording = gr.Audio(
                    type="filepath", label="Recording (WAV, FLAC, OGG or MP3)", elem_id="edit-recording"
                )
                for name, option in self.options.items():
                    if name in (*SHOWN, *self.adapters.adapters) or name.removeprefix("from_") in self.conditions:
                        controls[name] = control(option, begin.get(name))
                controls["regions"].elem_id = "edit-regions"
                with gr.Accordion("More options", open=False):
                    for name, option in self.options.items():
                        if name not in controls:
                            controls[name] = control(option, begin.get(name))
                button = gr.Button("Edit", variant="primary", elem_id="edit")
                cancel = gr.Button("Cancel", elem_id="edit-cancel")
            with gr.Column(scale=3):
                picker = region_picker("edit-waveform")
                picture = gr.Plot(show_label=False, elem_id="edit-spectrum")
                result = gr.Audio(label="Edited", interactive=False, elem_id="edit-result", buttons=["download"])
                settings = gr.JSON(label="Settings", open=False, max_height=280, elem_id="edit-settings")
        link(picker, controls["regions"])
        private = {"api_visibility": "private", "show_progress": "hidden"}
        recording.change(self.show, recording, [picker, controls["regions"]], **private)
        queue = {"concurrency_limit": 1, "show_progress_on": result}
        endpoint = named(self.edit, ["recording"], {name: self.defaults.get(name) for name in self.options})
        inputs = [recording, *(controls[name] for name in self.options)]
        running = button.click(endpoint, inputs, [picture, result, settings], api_name="edit", **queue)
        cancel.click(None, cancels=running, api_visibility="private")

    def show(self, path: str | None) -> tuple[dict[str, Any], str]:
        """A new recording: its waveform, and no region."""
        if not path:
            return EMPTY, ""
        with show_errors():
            return outline(read_upload(path, MAX_SECONDS, channels=2)), ""

    def edit(self, path: str | None, *values: Any) -> Iterator[Any]:
        """Edit a recording: its spectrogram, its audio, and the settings used."""
        *values, progress = values
        with show_errors():
            if not path:
                raise UserError("recording", "is missing", "upload a file or record one")
            config = self._config(parse(self.options, self.defaults, values))
            audio = read_upload(path, MAX_SECONDS, channels=2)
            (edited, elapsed), messages = yield from run_with_progress(
                lambda callback: with_warnings(
                    lambda: stopwatch(lambda: self.editor.edit(audio, config, callback=callback))
                ),
                progress,
                self.lock,
            )
            settings = self.editor.settings(config) | {"seconds_taken": round(elapsed, 2), "warnings": messages}
            for message in messages:
                gr.Warning(message)
            mono = torch.atleast_2d(edited.samples).mean(0)
            yield spectrum_figure(mono, edited.sample_rate), player(edited), settings

    def _config(self, values: dict[str, Any]) -> EditConfig:
        for name, option in self.options.items():
            if option.kind == "audio" and values[name] is not None:
                values[name] = read_upload(values[name], MAX_SECONDS, channels=2)
        values = self.adapters.load(self.menu.load(values))
        given = {name: values.pop(name) for name in self.reading}
        now = {name: values.pop(f"from_{name}") for name in self.conditions}
        conditions = {name: value for name, value in given.items() if value}
        values["regions"] = _texts(values["regions"])
        values["band"] = values["band"] or None
        from_conditions = {name: value for name, value in now.items() if value}
        config = EditConfig(conditions=conditions, from_conditions=from_conditions, **values)
        return without_idle_scale(config, self.generator().model)


def _current(option: Option) -> Option:
    """The control of a condition of the recording as it is."""
    return replace(option, label=f"{option.label} now", help="What the recording is now, to change it by inversion.")


def _texts(regions: str | None) -> list[str]:
    """Regions of a text, separated by commas."""
    return [text.strip() for text in (regions or "").split(",") if text.strip()]
