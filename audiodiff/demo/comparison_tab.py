"""The tab that compares: one seed over samplers, numbers of steps and scales of adapters, and the spread over seeds."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component

from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.demo.clip_list import EMPTY, clip_list
from audiodiff.demo.comparison import ComparisonTask, variants
from audiodiff.demo.controls import MAX_SECONDS, control, named, parse, update
from audiodiff.demo.delivery import deliver, preview_of
from audiodiff.demo.history import History
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.request import OF_FILES, Result, respond
from audiodiff.demo.responses import show_errors
from audiodiff.demo.settings_file import TYPES
from audiodiff.demo.task import MAX_CLIPS
from audiodiff.demo.task_tab import PRIVATE, QUEUE
from audiodiff.demo.tasks import TASKS
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option
from audiodiff.rendering.settings import read_settings

INTRODUCTION = (
    "The same seed with different samplers, numbers of steps, and scales of adapters, with the time of each. "
    "Several seeds show how much each varies, in a band of one standard deviation."
)
HINT = "Choose a model, samplers and steps, then compare."
OPTIONS: dict[str, Option] = {
    "text": Option("text", "What a voice speaks, or the prompt of a generator.", "Text or prompt"),
    "labels": Option("choice", "Labels of a generator.", "Labels", multiple=True),
    "recording": Option("audio", "What a vocoder resynthesizes.", "Recording"),
    "seconds": Option(
        "number", "Length of a generated clip.", "Seconds", maximum=MAX_SECONDS, above=0, default_help="the model's own"
    ),
    "samplers": Option("choice", "Empty: the model's own.", "Samplers", choices=tuple(NAMES), multiple=True),
    "steps": Option("text", "Numbers of steps, after commas.", "Steps"),
    "scales": Option("text", "Scales of the model's adapters, after commas. Empty: as in the tab.", "Adapter scales"),
    "seed": Option("integer", "The same for all.", "Seed"),
    "seeds": Option(
        "integer", "From this seed on; several show the spread over them.", "Seeds", minimum=1, maximum=MAX_CLIPS
    ),
    "format": OF_FILES["format"],
    "watermark": OF_FILES["watermark"],
}
DEFAULTS: dict[str, Any] = {
    "text": "",
    "labels": (),
    "recording": None,
    "seconds": None,
    "samplers": (),
    "steps": "2, 4, 8",
    "scales": "",
    "seed": 0,
    "seeds": 1,
    "format": "wav",
    "watermark": True,
}
_OF_MODELS = ("text", "labels", "recording", "seconds", "scales")  # controls that not all models have
_INPUTS = {"text": ("text", "prompt"), "labels": ("labels",), "recording": ("recording",), "seconds": ("seconds",)}


class ComparisonTab:
    """The tab and its endpoint `/compare`.

    Args:
        catalog: the models; the first task of each is compared.
        store: of loaded models.
    """

    def __init__(self, catalog: Catalog, store: ModelStore):
        self.catalog, self.store = catalog, store
        self.offers = [offer for offer in catalog.offers if TASKS[offer.kind][0].COMPARED]
        self.controls: dict[str, Component] = {}

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of the endpoint's parameters."""
        return {"model": self.offers[0].name} | DEFAULTS

    def build(self, history: History) -> None:
        """Lay out the tab."""
        offers = self.offers
        with gr.Tab("Compare", id="compare", elem_id="tab-compare") as tab:
            gr.Markdown(INTRODUCTION)
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    self.controls["model"] = gr.Dropdown(
                        [offer.name for offer in offers], value=offers[0].name, label="Model"
                    )
                    self.controls["model"].preprocess = lambda payload: payload  # type: ignore[method-assign]
                    shown = self.inputs(offers[0])
                    for name, option in OPTIONS.items():
                        component = control(shown.get(name) or option, DEFAULTS[name], optional=name == "seconds")
                        component.elem_id = f"compare-{name}"
                        component.visible = name not in _OF_MODELS or name in shown
                        self.controls[name] = component
                    with gr.Row():
                        button = gr.Button("Compare", variant="primary", elem_id="compare-run")
                        cancel = gr.Button("Cancel", elem_id="compare-cancel")
                with gr.Column(scale=3, min_width=300):
                    status = gr.HTML(elem_id="compare-status", min_height=8)
                    clips = clip_list("compare-clips", HINT)
                    with gr.Accordion("Files, settings and times", open=False):
                        files = gr.File(label="Files", file_count="multiple", interactive=False, height=140)
                        settings = gr.JSON(label="Settings", max_height=320, elem_id="compare-settings")
                    with gr.Accordion("Load settings", open=False):
                        label = "settings.json of a comparison"
                        loaded = gr.File(label=label, file_types=TYPES, height=120, elem_id="compare-load")
            running = button.click(
                named(self.run, [], self.defaults),
                [self.controls[name] for name in self.defaults],
                [clips, files, settings],
                api_name="compare",
                api_description=f"{INTRODUCTION} Returns the files (clips and settings.json), and the settings.",
                show_progress_on=status,
                **QUEUE,
            )
            history.remember(running, "Compare", "compare", clips, settings)
            every = list(self.controls.values())
            loaded.upload(self.load_file, loaded, every, **PRIVATE)
            history.reuse(self.load_settings, "compare", every, tab)
            cancel.click(lambda: EMPTY, None, clips, cancels=[running], **PRIVATE)
            inputs = [self.controls[name] for name in _OF_MODELS]
            self.controls["model"].input(self.choose, self.controls["model"], inputs, **PRIVATE)

    def inputs(self, offer: Offer) -> dict[str, Option]:
        """The inputs of this tab that a model takes, as it declares them."""
        options = TASKS[offer.kind][0].options(offer)
        found = {}
        for name, candidates in _INPUTS.items():
            if own := next((one for one in candidates if one in options), None):
                found[name] = replace(OPTIONS[name], choices=options[own].choices)
        return found | ({"scales": OPTIONS["scales"]} if offer.adapters.adapters else {})

    def choose(self, name: str) -> list[Any]:
        """Another model: the controls that it takes."""
        with show_errors():
            shown = self.inputs(self.catalog[name])
            return [update(shown.get(one), self.controls[one], DEFAULTS[one]) for one in _OF_MODELS]

    def load_file(self, path: str | None) -> list[Any]:
        """The model and the controls that give the settings of a file."""
        with show_errors():
            return self.load_settings(read_settings(path) if path else None)

    def load_settings(self, settings: dict[str, Any] | None) -> list[Any]:
        """The model and the controls that give settings of a comparison; no change without any."""
        with show_errors():
            if not settings:
                return [gr.skip()] * len(self.controls)
            offer, values = self.restore(settings)
            options = {name: option for name, option in OPTIONS.items() if name not in _OF_MODELS} | self.inputs(offer)
            gr.Info("Settings are loaded.")
            updates = [update(options.get(name), self.controls[name], values[name]) for name in OPTIONS]
            return [gr.update(value=offer.name), *updates]

    def restore(self, settings: Mapping[str, Any]) -> tuple[Offer, dict[str, Any]]:
        """The model of settings, and the values of controls that give them; recordings are not in settings.

        Raises:
            UserError: settings of no comparison, of a model that is not compared here, or a value that is out of range.
        """
        given, digest = settings.get("compare"), settings.get("model_hash")
        if not isinstance(given, Mapping):
            raise UserError("settings", "are of no comparison", "load the settings.json of one, or use their own tab")
        offer = next((one for one in self.offers if one.digest == digest), None)
        if offer is None:
            name = f"{settings.get('model')!s:.60}"
            raise UserError("settings", f"are of {name}, which is not compared here", "start the demo with --model DIR")
        options = OPTIONS | self.inputs(offer)
        named_values = {name: given[name] for name in options if name != "recording" and given.get(name) is not None}
        return offer, DEFAULTS | {
            name: options[name].check(OPTIONS[name].label, one) for name, one in named_values.items()
        }

    def run(self, *values: Any) -> Iterator[Any]:
        """One comparison; see the endpoint's own documentation."""
        *given, progress = values
        named_values = dict(zip(self.defaults, given, strict=True))
        yield from deliver(lambda: self._respond(named_values, progress), "compare")

    def _respond(self, given: dict[str, Any], progress: Any) -> Generator[Any, None, tuple[Result, str]]:
        offer = self.catalog[given.pop("model")]
        if offer not in self.offers:
            fix = f"choose among {', '.join(one.name for one in self.offers)}"
            raise UserError(f"model {offer.name}", "is not compared here", fix)
        options = OPTIONS | {"labels": self.inputs(offer).get("labels", OPTIONS["labels"])}
        values = parse(options, DEFAULTS, [given[name] for name in options])
        task = ComparisonTask(TASKS[offer.kind][0], variants(values, offer), values["seeds"])
        own = task.known(offer) | self._given(offer, values)
        own = parse(task.options(offer), task.known(offer), [own.get(name) for name in task.options(offer)])
        result = yield from respond(self.store, task, offer, own, 1, progress, preview_of())
        asked = {name: value for name, value in values.items() if name not in ("recording", "watermark")}
        result = replace(result, settings=result.settings | {"compare": asked})
        return result.watermarked() if values["watermark"] else result, values["format"]

    def _given(self, offer: Offer, values: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs by the names of the task's options."""
        options = TASKS[offer.kind][0].options(offer)
        found = {"seed": values["seed"]}
        for name, candidates in _INPUTS.items():
            own = next((one for one in candidates if one in options), None)
            if own is not None and values[name]:
                found[own] = values[name]
            elif own is None and values[name]:
                subject = f"{OPTIONS[name].label} {values[name]!r:.60}"
                raise UserError(subject, f"{offer.name} has no such option", "leave it out, or choose another model")
        return found
