"""A request: values of controls are checked, a model is loaded and samples, and the clips are written to files."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from audiodiff.audio.io import Audio
from audiodiff.audio.watermark import embed
from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import parse
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.responses import stopwatch, with_warnings
from audiodiff.demo.task import MAX_CLIPS, Callback, Clip, Task
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of
from audiodiff.pipelines.pipeline import Progress
from audiodiff.rendering.options import WriteOptions

COUNT = Option("integer", "Clip i of a seed is the same in any number of clips.", "Clips", minimum=1, maximum=MAX_CLIPS)
AUDIBLE = Option("flag", "Lets you hear the estimate of a step, too.", "Preview with sound")
# Options of every request, and their defaults.
FORMAT = replace(options_of(WriteOptions)["format"], label="Format")
WATERMARK = Option("flag", "Embeds an inaudible mark, which `audiodiff info` finds.", "Watermark")
OF_FILES: dict[str, Option] = {"count": COUNT, "format": FORMAT, "watermark": WATERMARK, "preview_sound": AUDIBLE}
DEFAULTS: dict[str, Any] = {"count": 1, "format": "wav", "watermark": True, "preview_sound": False}
_OF_CLIP = (
    "clip",
    "clip_seed",
    "morph_clip_seed",
    "batch",
)  # entries of settings that differ between the clips of a request


@dataclass(frozen=True)
class Result:
    """What a request returns.

    Attributes:
        clips: with the watermark, if they have one.
        settings: as JSON.
    """

    clips: list[Clip]
    settings: dict[str, Any]

    def watermarked(self) -> "Result":
        """The same with a watermark in what was generated; its settings say so."""
        marked = [clip if clip.settings is None else _marked(clip) for clip in self.clips]
        return Result(marked, self.settings | {"watermark": True})


def checked(
    task: Task, offer: Offer, values: Mapping[str, Any], every: Mapping[str, Option], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of a task's options for a model.

    Args:
        task: whose options they are.
        offer: the model.
        values: of the options of all models of the tab, by name.
        every: all these options.
        defaults: of these options; with them, one that the model does not have is as left out.

    Raises:
        UserError: a value of another type or out of range, or of an option that this model does not have.
    """
    options, known = task.options(offer), task.known(offer)
    for name, value in values.items():
        if name not in options and not _empty(value) and value != defaults.get(name):
            subject, fix = f"{every[name].label} {value!r:.60}", "leave it out, or choose another model"
            raise UserError(subject, f"{offer.name} has no such option", fix)
    return parse(options, known, [values.get(name) for name in options])


def respond(
    store: ModelStore,
    task: Task,
    offer: Offer,
    values: dict[str, Any],
    count: int,
    progress: gr.Progress,
    preview: Callable[[Progress], Any],
) -> Generator[Any, None, Result]:
    """Run a request; yields what the preview makes of each step.

    Args:
        store: of the models.
        task: what to do.
        offer: the model.
        values: of `checked`.
        count: number of clips.
        progress: of the page.
        preview: of the steps.

    Raises:
        UserError: as `Task.prepare`, or from the pipeline.
    """
    work = task.prepare(offer, values, count)

    def sample(callback: Callback) -> tuple[tuple[list[Clip], float], list[str]]:
        pipeline = store.load(offer)
        return with_warnings(lambda: stopwatch(lambda: work.run(pipeline, callback)))

    (clips, elapsed), messages = yield from run_with_progress(sample, progress, store.worker, preview)
    generated = [clip for clip in clips if clip.settings is not None]
    settings = {name: value for name, value in dict(generated[0].settings or {}).items() if name not in _OF_CLIP}
    seconds = sum(clip.audio.seconds for clip in generated)
    settings |= {
        "seconds_of_audio": round(seconds, 3),
        "seconds_taken": round(elapsed, 3),
        "real_time_factor": round(seconds / max(elapsed, 1e-6), 2),  # seconds of audio per second of work
        "warnings": messages,
    }
    for message in messages:  # such as of words that a model does not know
        gr.Warning(message)
    return Result(clips, settings | work.details(clips))


def _marked(clip: Clip) -> Clip:
    rate = clip.audio.sample_rate
    settings = {**(clip.settings or {}), "watermark": True}
    if clip.rewriting is not None:  # in what is generated alone
        return replace(clip, rewriting=clip.rewriting.watermarked(rate), settings=settings)
    return replace(clip, audio=Audio(embed(clip.audio.samples, rate), rate), settings=settings)


def _empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | list | tuple) and not value)
