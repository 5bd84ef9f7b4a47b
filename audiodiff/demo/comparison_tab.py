"""The tab that compares: one seed over samplers, numbers of steps and scales of adapters."""

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from audiodiff.demo.adapter_menu import MAX_SCALE
from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.demo.clip_list import EMPTY, clip_list
from audiodiff.demo.controls import LIMITS, MAX_SECONDS, control, named, parse, update
from audiodiff.demo.delivery import deliver, preview_of
from audiodiff.demo.history import History
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.request import OF_FILES, Result, respond
from audiodiff.demo.responses import show_errors, stopwatch
from audiodiff.demo.task import MAX_CLIPS, Callback, Clip, Task, Work
from audiodiff.demo.task_tab import PRIVATE, QUEUE
from audiodiff.demo.tasks import TASKS
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option
from audiodiff.pipelines.edit_window import scale_progress

INTRODUCTION = "The same seed with different samplers, numbers of steps, and scales of adapters, with the time of each."
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
    "format": "wav",
    "watermark": True,
}
_INPUTS = {"text": ("text", "prompt"), "labels": ("labels",), "recording": ("recording",), "seconds": ("seconds",)}


class Variant(NamedTuple):
    """One clip of a comparison; None: the model's own sampler, the scales that its adapters begin with."""

    sampler: str | None
    steps: int
    scale: float | None

    @property
    def title(self) -> str:
        """What the page calls it."""
        scale = "" if self.scale is None else f", adapters x {self.scale:g}"
        return f"{self.sampler or 'own sampler'}, {self.steps} step{'s' * (self.steps > 1)}{scale}"


class ComparisonTask(Task):
    """Another task, once for each variant.

    Args:
        task: the other one.
        variants: of it.
    """

    COMMAND = "compare"

    def __init__(self, task: Task, variants: Sequence[Variant]):
        self.task, self.variants = task, variants

    def options(self, offer: Offer) -> dict[str, Option]:
        """Those of the other task."""
        return self.task.options(offer)

    def known(self, offer: Offer) -> dict[str, Any]:
        """Those of the other task."""
        return self.task.known(offer)

    def initial(self, offer: Offer) -> dict[str, Any]:
        """Those of the other task."""
        return self.task.initial(offer)

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """One clip of each variant, one after the other; raises as the other task."""
        works = []
        for one in self.variants:
            scales = {} if one.scale is None else dict.fromkeys(offer.adapters.adapters, one.scale)
            own = values | {"sampler": one.sampler, "steps": one.steps} | scales
            works.append((one, self.task.prepare(offer, own, 1)))
        runs: list[dict[str, Any]] = []

        def run(pipeline: Any, callback: Callback) -> list[Clip]:
            found: list[Clip] = []
            _, first = min(works, key=lambda work: work[0].steps)
            first.run(pipeline, scale_progress(callback, 0, len(works) + 1))  # what only the first call of a model does
            for number, (one, work) in enumerate(works):
                report = scale_progress(callback, number + 1, len(works) + 1)
                clips, elapsed = stopwatch(lambda work=work, report=report: work.run(pipeline, report))
                found += [clip for clip in clips if clip.settings is None and number == 0]  # the original, once
                (clip,) = (clip for clip in clips if clip.settings is not None)
                found.append(replace(clip, title=f"{one.title}: {elapsed:.2f} s to compute"))
                factor = round(clip.audio.seconds / max(elapsed, 1e-6), 2)
                runs.append(one._asdict() | {"seconds_taken": round(elapsed, 3), "real_time_factor": factor})
            return found

        return Work(run, lambda _: {"runs": runs})


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
        with gr.Tab("Compare", id="compare", elem_id="tab-compare"):
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
                        component.visible = name not in _INPUTS or name in shown
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
        running = button.click(
            named(self.run, [], self.defaults),
            [self.controls[name] for name in self.defaults],
            [clips, files, settings],
            api_name="compare",
            api_description=f"{INTRODUCTION} Returns the files (clips and settings.json), and the settings.",
            show_progress_on=status,
            **QUEUE,
        )
        history.remember(running, "Compare", "", clips, settings)
        cancel.click(lambda: EMPTY, None, clips, cancels=[running], **PRIVATE)
        inputs = [self.controls[name] for name in _INPUTS]
        self.controls["model"].input(self.choose, self.controls["model"], inputs, **PRIVATE)

    def inputs(self, offer: Offer) -> dict[str, Option]:
        """The inputs of this tab that a model takes, as it declares them."""
        options = TASKS[offer.kind][0].options(offer)
        found = {}
        for name, candidates in _INPUTS.items():
            if own := next((one for one in candidates if one in options), None):
                found[name] = replace(OPTIONS[name], choices=options[own].choices)
        return found

    def choose(self, name: str) -> list[Any]:
        """Another model: the controls that it takes."""
        with show_errors():
            shown = self.inputs(self.catalog[name])
            return [update(shown.get(one), self.controls[one], DEFAULTS[one]) for one in _INPUTS]

    def run(self, *values: Any) -> Iterator[Any]:
        """One comparison; see the endpoint's own documentation."""
        *given, progress = values
        named_values = dict(zip(self.defaults, given, strict=True))
        yield from deliver(lambda: self._respond(named_values, progress), "compare")

    def _respond(self, given: dict[str, Any], progress: Any) -> Generator[Any, None, tuple[Result, str]]:
        offer = self.catalog[given.pop("model")]
        options = OPTIONS | {"labels": self.inputs(offer).get("labels", OPTIONS["labels"])}
        values = parse(options, DEFAULTS, [given[name] for name in options])
        task = ComparisonTask(TASKS[offer.kind][0], variants(values, offer))
        own = task.known(offer) | self._given(offer, values)
        own = parse(task.options(offer), task.known(offer), [own.get(name) for name in task.options(offer)])
        result = yield from respond(self.store, task, offer, own, 1, progress, preview_of())
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


def variants(values: Mapping[str, Any], offer: Offer) -> list[Variant]:
    """The variants of a request.

    Raises:
        UserError: a number that is none or out of range, scales of a model without adapters, or too many variants.
    """
    steps = [
        int(one) for one in _numbers(values["steps"], Option("integer", "", "Steps", minimum=1, **LIMITS["steps"]))
    ]
    scale = Option("number", "", "Adapter scale", minimum=0, maximum=MAX_SCALE)
    scales: list[float | None] = list(_numbers(values["scales"], scale)) or [None]
    if scales != [None] and not offer.adapters.adapters:
        fix = "leave them out, or start the demo with --adapter DIR"
        raise UserError("Adapter scales", f"{offer.name} has no adapters here", fix)
    if not steps:
        raise UserError("Steps", "is empty", "enter numbers such as 2, 4, 8")
    samplers: Sequence[str | None] = values["samplers"] or (None,)
    found = [Variant(*one) for one in itertools.product(samplers, steps, scales)]
    if len(found) > MAX_CLIPS:
        raise UserError(f"{len(found)} clips", f"are more than {MAX_CLIPS}", "choose fewer samplers, steps or scales")
    return found


def _numbers(text: str | None, option: Option) -> list[float]:
    """The numbers of a text, each once."""
    found = []
    for part in (text or "").split(","):
        if part.strip():
            try:
                value = float(part)
            except ValueError as error:
                raise UserError(f"{option.label} {part.strip()!r:.40}", "is no number", "enter 2, 4, 8") from error
            found.append(option.check(option.label, value))
    return list(dict.fromkeys(found))
