"""`Task`: what a tab does with a model: the options that it shows, and the work on their values.

Tabs, comparisons and settings that are loaded back know tasks alone, not model types.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from gradio.components import Component

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Offer
from audiodiff.demo.rewriting import Rewriting
from audiodiff.errors import UserError
from audiodiff.options import Option
from audiodiff.pipelines.pipeline import Progress

MAX_CLIPS = 16
MAX_TOTAL_SECONDS = 240.0  # of all clips of a request
Callback = Callable[[Progress], None]


class Mark(NamedTuple):
    """A text below the picture of a clip, from `start` to `end` in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Clip:
    """A result, or a recording to compare it with.

    Attributes:
        audio: (T,) or (C, T).
        title: what the page calls it.
        settings: what decides it, as JSON; goes into the metadata of its file. None: a recording of the visitor.
        marks: what sounds when, such as words.
        rewriting: how its file is written, where it keeps the encoding of a recording.
        spread: a PNG of how it varies with its seed.
    """

    audio: Audio
    title: str
    settings: Mapping[str, Any] | None = None
    marks: tuple[Mark, ...] = ()
    rewriting: Rewriting | None = None
    spread: bytes | None = None


class Work(NamedTuple):
    """A request that has been checked as far as it can be without the weights.

    Attributes:
        run: samples with a loaded pipeline; calls back after every step.
        details: computes what the page shows besides the settings, of the clips.
    """

    run: Callable[[Any, Callback], list[Clip]]
    details: Callable[[list[Clip]], dict[str, Any]] = lambda clips: {}


class Task(ABC):
    """One way to use models of one type.

    Attributes:
        COMMAND: that does the same on the command line; settings name it.
        RECORDING: the option that holds the visitor's recording; empty if there is none.
        REGIONS: the option that holds parts of it, which are chosen on its waveform; empty if there is none.
        FILES: names of the options of files (`request.OF_FILES`) that the task has.
        COMPARED: whether a text, labels or a recording, without other options, are enough for a comparison.
        GROUPS: names of options that are shown together, folded, below the others, by their titles.
        FORMS: whether the mel, and not the audio, is what forms.
    """

    COMMAND: ClassVar[str]
    RECORDING: ClassVar[str] = ""
    REGIONS: ClassVar[str] = ""
    COMPARED: ClassVar[bool] = True
    FILES: ClassVar[tuple[str, ...]] = ("count", "format", "watermark", "preview_sound")
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @abstractmethod
    def options(self, offer: Offer) -> dict[str, Option]:
        """The options of a model by name, in the order in which they are shown."""

    @abstractmethod
    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of the options, None where the model decides."""

    @abstractmethod
    def initial(self, offer: Offer) -> dict[str, Any]:
        """The values that controls begin with: the model's own, where the default is None."""

    @abstractmethod
    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """The work of a request.

        Args:
            offer: the model.
            values: of all options, each checked by itself.
            count: number of clips.

        Raises:
            UserError: values that exclude each other, an upload that cannot be read, or more than the page serves.
        """

    def controls(self) -> dict[str, Callable[[], Component]]:
        """Makers of the controls of those options whose kind does not say enough."""
        return {}

    def restore(self, offer: Offer, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The values of controls that give these settings; those that are not named begin anew.

        Recordings and other models are not in settings; they are left out.

        Raises:
            UserError: a value of another type or out of range.
        """
        options, initial = self.options(offer), self.initial(offer)
        values = {name: initial.get(name) for name in options}
        for name, option in options.items():
            if (value := settings.get(name)) is None or option.kind in ("audio", "model"):
                continue
            if option.choices and not option.multiple and value not in option.choices:
                continue  # such as the hash of a guide
            values[name] = option.check(option.label, value)
        return values | offer.adapters.restore(settings.get("adapters"))


def check_length(seconds: float, count: int) -> None:
    """Check that all clips together are short enough for the page.

    Raises:
        UserError: they are not.
    """
    if seconds * count > MAX_TOTAL_SECONDS:
        problem = f"are longer than {MAX_TOTAL_SECONDS:g} s together"
        raise UserError(f"{count} clips of {seconds:g} s", problem, "choose fewer or shorter clips")


def identity(task: Task, offer: Offer, model_hash: str) -> dict[str, Any]:
    """The entries of settings that name what generated a clip."""
    return {"command": task.COMMAND, "model": offer.name, "model_hash": model_hash}
