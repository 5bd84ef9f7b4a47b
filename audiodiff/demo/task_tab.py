"""`TaskTab`: a tab of the page: a model and its options on the left; clips, files and settings on the right."""

from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.demo.clip_list import EMPTY, clip_list
from audiodiff.demo.controls import control as make_control
from audiodiff.demo.controls import named, update
from audiodiff.demo.delivery import deliver, preview_of
from audiodiff.demo.history import History
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.region_picker import link, region_picker
from audiodiff.demo.region_picker import show as show_recording
from audiodiff.demo.request import DEFAULTS, OF_FILES, Result, checked, respond
from audiodiff.demo.responses import show_errors
from audiodiff.demo.settings_file import TYPES, find_offer
from audiodiff.demo.task import Task
from audiodiff.errors import UserError
from audiodiff.options import Option
from audiodiff.rendering.settings import read_settings

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # one request samples at a time
# In the browser: a random seed, unless it is locked. On a phone, where results are below all controls, they are shown.
_DRAW = "() => Math.floor(Math.random() * 2147483647)"
_BEGIN = """(seed, locked) => {{
    if (window.innerWidth < 800) document.getElementById("{endpoint}-status")?.scrollIntoView({{behavior: "smooth"}});
    return locked ? seed : Math.floor(Math.random() * 2147483647);
}}"""


class Texts(NamedTuple):
    """What a tab says.

    Attributes:
        title: of the tab.
        endpoint: name of its endpoint, and of files.
        verb: on its button.
        hint: in place of results, before there are any.
        introduction: one or two sentences above the controls.
        within: title of the tab that it is in, beside others; empty: it is one of the page.
        inputs: names of the options that examples fill.
        examples: values of these options.
    """

    title: str
    endpoint: str
    verb: str
    hint: str
    introduction: str
    inputs: Sequence[str] = ()
    examples: Sequence[Sequence[Any]] = ()
    within: str = ""

    @property
    def path(self) -> str:
        """What the history calls the tab."""
        return f"{self.within} \u203a {self.title}" if self.within else self.title


class TaskTab:
    """A tab for one task with one of several models.

    Args:
        texts: what it says.
        task: what it does.
        offers: the models to choose from; the tab says what is missing if there are none.
        store: of loaded models.
        catalog: of all models.
    """

    def __init__(self, texts: Texts, task: Task, offers: Sequence[Offer], store: ModelStore, catalog: Catalog):
        self.texts, self.task, self.offers, self.store, self.catalog = texts, task, list(offers), store, catalog
        self.title, self.endpoint = texts.title, texts.endpoint
        self.of_files = {name: OF_FILES[name] for name in task.FILES}
        self.controls: dict[str, Component] = {}

    @cached_property
    def options(self) -> dict[str, Option]:
        """The options of all models of the tab, by name; where several have one, as the first declares it."""
        found: dict[str, Option] = {}
        for offer in self.offers:
            found = found | {name: one for name, one in self.task.options(offer).items() if name not in found}
        return found

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The defaults of the endpoint's parameters; the first model is that of the endpoint."""
        known = {name: value for offer in reversed(self.offers) for name, value in self.task.known(offer).items()}
        return (
            {"model": self.offers[0].name}
            | {name: known.get(name) for name in self.options}
            | {name: DEFAULTS[name] for name in self.of_files}
        )

    def build(self, history: History) -> None:
        """Lay out the tab; finished requests are added to the history."""
        with gr.Tab(self.title, id=self.endpoint, elem_id=f"tab-{self.endpoint}") as tab:
            gr.Markdown(self.texts.introduction)
            if not self.offers:
                gr.Markdown("No model for this is installed. Start the demo with `--model DIR`.")
                return
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    picker = self._lay_out_inputs()
                    button, cancel = self._lay_out_buttons()
                    self._lay_out_groups()
                    self._lay_out_files()
                with gr.Column(scale=3, min_width=300):
                    status = gr.HTML(elem_id=f"{self.endpoint}-status", min_height=8)  # that progress is shown on
                    clips = clip_list(f"{self.endpoint}-clips", self.texts.hint)
                    with gr.Accordion("Files and settings", open=False):
                        files = gr.File(label="Files", file_count="multiple", interactive=False, height=140)
                        settings = gr.JSON(label="Settings", max_height=320, elem_id=f"{self.endpoint}-settings")
                    with gr.Accordion("Load settings", open=False):
                        kinds = f"{self.endpoint}-load"
                        label = "settings.json, a sidecar, or a clip of audiodiff"
                        loaded = gr.File(label=label, file_types=TYPES, height=120, elem_id=kinds)
            self._lay_out_examples()
            running = self._connect(button, cancel, [clips, files, settings], status)
            history.remember(running, self.texts.path, self.endpoint, clips, settings)
            shown = [self.controls["model"], *(self.controls[name] for name in self.names), self.controls["count"]]
            loaded.upload(self.load_file, loaded, shown, **PRIVATE)
            history.reuse(self.load_settings, self.endpoint, shown, tab)
            if picker is not None:
                self._connect_picker(picker)

    @property
    def names(self) -> list[str]:
        """Names of the options, in the order of the endpoint's parameters."""
        return list(self.options)

    def _lay_out_inputs(self) -> gr.HTML | None:
        """The model, and the options that are not folded; returns the waveform, if regions are selected on one."""
        first, picker = self.offers[0], None
        names = [offer.name for offer in self.offers]
        self.controls["model"] = gr.Dropdown(
            names, value=names[0], label="Model", info=_describe(first), elem_id=f"{self.endpoint}-model"
        )
        self.controls["model"].preprocess = lambda payload: payload  # type: ignore[method-assign]
        folded = {name for group in self.task.GROUPS.values() for name in group}
        for name in self.options:
            if name not in (*folded, "seed"):
                self.control(name)
                if name == self.task.RECORDING and self.task.REGIONS in self.options:
                    picker = region_picker(f"{self.endpoint}-waveform")
        return picker

    def _lay_out_groups(self) -> None:
        """The folded options."""
        for title, group in self.task.GROUPS.items():
            if members := [name for name in self.options if name in group]:
                with gr.Accordion(title, open=False):
                    for name in members:
                        self.control(name)

    def control(self, name: str) -> None:
        """The control of an option; hidden, where the first model does not have it."""
        having = [offer for offer in self.offers if name in self.task.options(offer)]
        initial = [self.task.initial(offer).get(name) for offer in having]
        makers = self.task.controls()
        empty = any(value is None for value in initial)
        component = makers[name]() if name in makers else make_control(self.options[name], initial[0], optional=empty)
        component.elem_id, component.visible = f"{self.endpoint}-{name}", having[0] is self.offers[0]
        self.controls[name] = component

    def _lay_out_buttons(self) -> tuple[gr.Button, gr.Button]:
        """The buttons, and the seed."""
        with gr.Row():
            button = gr.Button(self.texts.verb, variant="primary", elem_id=f"{self.endpoint}-run")
            cancel = gr.Button("Cancel", elem_id=f"{self.endpoint}-cancel")
        with gr.Row():
            seed = self.controls["seed"] = make_control(self.options["seed"], 0)
            seed.elem_id = f"{self.endpoint}-seed"
            with gr.Column(min_width=140):
                dice = gr.Button("New seed", size="sm", elem_id=f"{self.endpoint}-dice")
                self.locked = gr.Checkbox(
                    False, label="Keep the seed", elem_id=f"{self.endpoint}-lock", container=False
                )
        dice.click(None, None, seed, js=_DRAW, **PRIVATE)
        return button, cancel

    def _lay_out_files(self) -> None:
        """The number and the format of clips."""
        with gr.Group():
            for name, one in self.of_files.items():
                component = self.controls[name] = make_control(one, DEFAULTS[name])
                component.elem_id = f"{self.endpoint}-{name}"

    def _lay_out_examples(self) -> None:
        names, rows = self.texts.inputs, self.texts.examples
        if rows and all(name in self.controls for name in names):
            inputs = [self.controls[name] for name in names]
            gr.Examples([list(row) for row in rows], inputs, api_visibility="private", label=f"Examples: {self.title}")

    def _connect(self, button: gr.Button, cancel: gr.Button, outputs: list[Component], status: gr.HTML) -> Any:
        """Connect the buttons and the choice of the model; returns the event of a request."""
        controls, seed, parameters = self.controls, self.controls["seed"], list(self.defaults)
        begun = button.click(None, [seed, self.locked], seed, js=_BEGIN.format(endpoint=self.endpoint), **PRIVATE)
        running = begun.then(
            named(self.run, [], self.defaults),
            [controls[name] for name in parameters],
            outputs,
            api_name=self.endpoint,
            api_description=f"{self.texts.introduction} Returns the files (clips and settings.json), and the settings.",
            show_progress_on=status,
            **QUEUE,
        )
        cancel.click(lambda: EMPTY, None, outputs[0], cancels=[running], **PRIVATE)
        everything = [controls[name] for name in self.names]
        controls["model"].input(self.choose, controls["model"], [controls["model"], *everything], **PRIVATE)
        return running

    def _connect_picker(self, picker: gr.HTML) -> None:
        regions = self.controls[self.task.REGIONS]
        assert isinstance(regions, gr.Textbox)
        link(picker, regions)
        self.controls[self.task.RECORDING].change(
            show_recording, self.controls[self.task.RECORDING], [picker, regions], **PRIVATE
        )

    def run(self, *values: Any) -> Iterator[Any]:
        """One request of the tab; see the endpoint's own documentation."""
        *given, progress = values
        named_values = dict(zip(self.defaults, given, strict=True))
        yield from deliver(lambda: self._respond(named_values, progress), self.endpoint)

    def _respond(self, given: dict[str, Any], progress: Any) -> Generator[Any, None, tuple[Result, str]]:
        offer = self._offer(given.pop("model"))
        files = {name: one.check(one.label, given.pop(name), optional=False) for name, one in self.of_files.items()}
        files = DEFAULTS | files
        values = checked(self.task, offer, given, self.options, self.defaults)
        preview = preview_of(files["preview_sound"])
        result = yield from respond(self.store, self.task, offer, values, files["count"], progress, preview)
        return result.watermarked() if files["watermark"] else result, files["format"]

    def choose(self, name: str) -> list[Any]:
        """Another model: the controls of its options, with its own values."""
        with show_errors():
            offer = self._offer(name)
            return [gr.update(info=_describe(offer)), *self._updates(offer, self.task.initial(offer))]

    def load_file(self, path: str | None) -> list[Any]:
        """The model, the controls and the number of clips that give the settings of a file."""
        with show_errors():
            return self.load_settings(read_settings(path) if path else None)

    def load_settings(self, settings: dict[str, Any] | None) -> list[Any]:
        """The model, the controls and the number of clips that give settings; no change without any."""
        with show_errors():
            if not settings:
                return [gr.skip()] * (2 + len(self.names))
            offer = find_offer(settings, self.catalog, self.task, self.offers)
            updates = self._updates(offer, self.task.restore(offer, settings))
            count = OF_FILES["count"].check("Clips", settings.get("count", 1), optional=False)
            gr.Info("Settings are loaded.")
            return [gr.update(value=offer.name, info=_describe(offer)), *updates, count]

    def _updates(self, offer: Offer, values: dict[str, Any]) -> list[Any]:
        options = self.task.options(offer)
        return [update(options.get(name), self.controls[name], values.get(name)) for name in self.names]

    def _offer(self, name: Any) -> Offer:
        offer = self.catalog[name]
        if offer not in self.offers:
            fix = f"choose among {', '.join(one.name for one in self.offers)}"
            raise UserError(f"model {offer.name}", f"is not one of the tab {self.title}", fix)
        return offer


def _describe(offer: Offer) -> str:
    """A line about a model."""
    rate = getattr(offer.model, "sample_rate", None)
    return ", ".join([f"{offer.parameters / 1e6:.1f} million parameters"] + ([f"{rate / 1000:g} kHz"] if rate else []))
