"""The page of an audio generator: options on the left, the generated clip on the right; a tab that edits."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import torch

from audiodiff.demo.adapter_menu import AdapterMenu
from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.controls import MAX_SECONDS, control, defaults, limited, named, parse
from audiodiff.demo.editor_tab import EditorTab
from audiodiff.demo.figure import spectrum_figure
from audiodiff.demo.guide_menu import NONE, GuideMenu, order, without_idle_scale
from audiodiff.demo.responses import HOUR, player, show_errors, stopwatch, with_warnings
from audiodiff.demo.uploads import read_upload
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.options import Option, options_of
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.guidance_options import GuideModels
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.steering import default_guidance, describe_guidance

INTRODUCTION = """# audiodiff
A diffusion model generates audio from noise in a few denoising steps. Choose the options, generate, and listen."""
DEFAULTS = defaults(GenerationConfig)
MORE_GUIDANCE = ("guidance_rescale", "guidance_interval")  # shown together, below the others
FROM_CLIP = ("continue_from", "init_audio", "init_noise_level")  # shown together, below the others


def build(
    folder: Path, device: str = "cpu", guides: GuideModels | None = None, adapters: Sequence[str] = ()
) -> gr.Blocks:
    """Lay out the page of a generator's checkpoint `folder`; endpoints for `gradio_client`: `/generate` and `/edit`.

    Raises:
        UserError: as `GuideMenu.for_model` and `AdapterMenu.for_model`.
    """
    app = App(folder, device, guides, adapters)
    with gr.Blocks(title="audiodiff", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRODUCTION)
        gr.Markdown(f"Model: `{folder}`")
        with gr.Tab("Generate clips"):
            _build_generation(app)
        with gr.Tab("Edit a recording"):
            EditorTab(lambda: app.generator, app.conditions, app.lock, app.menu, app.adapters).build()
    return page


def _build_generation(app: "App") -> None:
    """Lay out the tab that generates clips."""
    controls = {}
    with gr.Row():
        with gr.Column(scale=2):
            more = [*(name for name in MORE_GUIDANCE if name in app.options), *app.of_guides]
            for name, option in app.options.items():
                if name not in FROM_CLIP and name not in more:
                    controls[name] = control(option, app.defaults.get(name))
            if more:
                with gr.Accordion("More on guidance", open=False):
                    for name in more:
                        controls[name] = control(app.options[name], app.defaults.get(name))
            with gr.Accordion("Start from a clip", open=False):
                for name in FROM_CLIP:
                    controls[name] = control(app.options[name], app.defaults.get(name))
            button = gr.Button("Generate", variant="primary", elem_id="generate")
            cancel = gr.Button("Cancel", elem_id="cancel")
        with gr.Column(scale=3):
            picture = gr.Plot(show_label=False, elem_id="spectrum")
            result = gr.Audio(label="Generated", interactive=False, elem_id="result", buttons=["download"])
            settings = gr.JSON(label="Settings", open=True, max_height=280, elem_id="settings")
    queue = {"concurrency_limit": 1, "show_progress_on": result}
    api_defaults = {name: (DEFAULTS | app.adapters.defaults).get(name) for name in app.options}
    endpoint, inputs = named(app.generate, [], api_defaults), [controls[name] for name in app.options]
    running = button.click(endpoint, inputs, [picture, result, settings], api_name="generate", **queue)
    cancel.click(None, cancels=running, api_visibility="private")


class App:
    """The endpoint of the page."""

    def __init__(self, folder: Path, device: str, guides: GuideModels | None = None, adapters: Sequence[str] = ()):
        self.folder, self.device, self.guides, self.lock = folder, device, guides, Lock()
        self._adapters = adapters

    @cached_property
    def generator(self) -> AudioGenerator:
        """The loaded model."""
        return AudioGenerator.from_pretrained(self.folder, self.device)

    @cached_property
    def conditions(self) -> dict[str, Option]:
        """The conditions of the model."""
        return self.generator.model.condition_options()

    @cached_property
    def menu(self) -> GuideMenu:
        """Other models that may guide it."""
        return GuideMenu.for_model(self.generator.model, self.guides)

    @cached_property
    def adapters(self) -> AdapterMenu:
        """Adapters of the model."""
        return AdapterMenu.for_model(self.generator.model, self._adapters)

    @cached_property
    def reading(self) -> dict[str, Option]:
        """The conditions that the model or a guide reads."""
        return self.menu.conditions(self.conditions)

    @cached_property
    def options(self) -> dict[str, Option]:
        """All options of the page, in order: conditions, adapters, and those of `GenerationConfig`; guides are last."""
        options = (
            self.reading | self.adapters.options | self.menu.options(options_of(GenerationConfig), self.conditions)
        )
        names = [name for name in options if name not in self.of_guides] + self.of_guides
        return limited({name: options[name] for name in names}, {"sampler": NAMES})

    @cached_property
    def of_guides(self) -> list[str]:
        """Names of the conditions that guides alone read, and of the options of guides: the last ones."""
        alone = [name for name in self.reading if name not in self.conditions]
        return alone + order(self.menu.options(options_of(GenerationConfig), self.conditions))

    @property
    def defaults(self) -> dict[str, Any]:
        """The values that controls begin with: the model's own, where the option's default is None.

        The length begins empty: a model may decide by itself when a sound ends.
        """
        model = self.generator.model
        own = {"steps": model.default_steps, "sampler": model.sampler}
        guidance = default_guidance(model)
        own |= dict.fromkeys(self.menu.folders, NONE)
        own |= self.adapters.defaults
        return DEFAULTS | own | describe_guidance(guidance, model) | {"guidance_rescale": guidance.rescale}

    def generate(self, *values: Any) -> Iterator[Any]:
        """Generate one clip: its spectrogram, its audio, and the settings used."""
        *values, progress = values
        with show_errors():
            config = self._config(parse(self.options, DEFAULTS | self.adapters.defaults, values))
            (audio, elapsed), messages = yield from run_with_progress(
                lambda callback: with_warnings(
                    lambda: stopwatch(lambda: self.generator.generate(config, callback=callback))
                ),
                progress,
                self.lock,
            )
            settings = self.generator.settings(config) | {
                "model": str(self.folder),
                "model_hash": self.generator.model_hash,
            }
            settings["real_time_factor"] = round(audio.seconds / elapsed, 2)
            settings["warnings"] = messages
            for message in messages:  # such as of words that a model does not know
                gr.Warning(message)
            mono = torch.atleast_2d(audio.samples).mean(0)
            yield spectrum_figure(mono, audio.sample_rate), player(audio), settings

    def _config(self, values: dict[str, Any]) -> GenerationConfig:
        for name, option in self.options.items():
            if option.kind == "audio" and values[name] is not None:
                values[name] = read_upload(values[name], MAX_SECONDS, channels=2)
        values = self.adapters.load(self.menu.load(values))
        requested = {name: values.pop(name) for name in self.reading}
        conditions = {name: value for name, value in requested.items() if value}
        if values["init_audio"] is not None:
            values["seconds"] = None  # a variation keeps the length of its clip
        return without_idle_scale(GenerationConfig(conditions=conditions, **values), self.generator.model)
