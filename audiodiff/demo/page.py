"""The page: its tabs, and what they offer of the models that were found."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path

import gradio as gr

from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.demo.comparison_tab import ComparisonTab
from audiodiff.demo.history import History
from audiodiff.demo.memory_use import keep_numbers, limit_arenas
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.models_tab import ModelsTab
from audiodiff.demo.responses import HOUR
from audiodiff.demo.task_tab import TaskTab, Texts
from audiodiff.demo.tasks import KINDS, TASKS
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.guidance_options import GuideModels

INTRODUCTION = """# audiodiff
Diffusion models that speak, make sounds and music, and edit recordings. Choose a tab, press its button, and listen."""
_HISTORY = "What you generated, with players and settings. The list is in your browser; files are kept for an hour."
_EXAMPLES = Path(__file__).with_name("examples")
SPEAK = Texts(
    "Speak",
    "say",
    "Speak",
    "Write a text, then press Speak.",
    "A voice speaks a text: a mel spectrogram forms from noise in a few steps, and a vocoder makes it audible.",
    ("text",),
    (
        ("The file is ready.",),
        ("Hello there. [pause 0.5] This voice is a diffusion model.",),
        ("How much wood would a woodchuck chuck?",),
    ),
)
SOUND = Texts(
    "Sound",
    "generate",
    "Generate",
    "Choose a model and what to make, then press Generate.",
    "Sounds form from noise in a few steps: from a prompt, a label, or a clip to continue or to vary.",
    ("prompt", "seconds"),
    (("a kick drum", ""), ("a dog barking", ""), ("rain", "4")),
)
MUSIC = Texts(
    "Music",
    "generate_music",
    "Compose",
    "Choose a style and a tempo, then press Compose.",
    "Loops and pieces of music form from noise in a few steps, in the style and the tempo that you choose.",
    ("labels", "tempo", "seconds"),
    ((["rock"], "120", ""), (["waltz"], "90", "4"), (["house"], "125", "4")),
)
EDIT = Texts(
    "Edit",
    "edit",
    "Edit",
    "Upload a recording, drag over a part of its waveform, then press Edit.",
    "A model replaces a part of a recording, extends it, or fills its gaps. Other samples stay as they are.",
    ("recording",),
    ((str(_EXAMPLES / "beat.ogg"),),),
)
RESYNTHESIZE = Texts(
    "Resynthesize",
    "resynthesize",
    "Resynthesize",
    "Upload a recording, then press Resynthesize.",
    "A mel spectrogram holds the energy of frequency bands over time, but no phases. A vocoder makes a waveform of it.",
    ("recording",),
    ((str(_EXAMPLES / "speech.ogg"),),),
)

RESTORE = Texts(
    "Repair",
    "restore",
    "Restore",
    "Upload a recording, choose what to restore, then press Restore.",
    "A model restores clipped peaks, fills gaps, and removes noise. Known samples stay as they are in the file.",
    ("recording", "declip"),
    ((str(_EXAMPLES / "clipped.flac"), True),),
    "Restore",
)
UPSAMPLE = Texts(
    "Upsample",
    "upsample",
    "Upsample",
    "Upload a recording of a low sample rate, then press Upsample.",
    "A model generates the upper band that a recording of a low sample rate lacks, and keeps the band that it has.",
    ("recording",),
    ((str(_EXAMPLES / "narrow.ogg"),),),
    "Restore",
)


def build(
    folder: str | Path | None = None,
    runs: str | Path = "runs",
    device: str = "cpu",
    guides: GuideModels | None = None,
    adapters: Sequence[str] = (),
    budget: int | None = None,
) -> gr.Blocks:
    """Build the page.

    Args:
        folder: checkpoint folder, or the name of a shipped model, that is offered first; None: the newest exports below
            `runs`.
        runs: where training puts its runs.
        device: that the models run on.
        guides: models that visitors may choose to guide the generator of `folder`, beside shipped ones.
        adapters: whose scales visitors may set, as "DIR" or "DIR:SCALE", the scale to begin with.
        budget: bytes that loaded models may take together; None: half of the memory that is free.

    Raises:
        UserError: as `Catalog.find`, or a model of a type that has no place on the page.
    """
    limit_arenas()
    catalog = Catalog.find(KINDS, folder, runs, guides, adapters)
    store = ModelStore(catalog, device, budget)
    given = None if folder is None else catalog.offers[0]
    tabs = task_tabs(catalog, store, given)
    first = next((tab for tab in tabs if given in tab.offers), tabs[0])
    with gr.Blocks(title="audiodiff", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRODUCTION)
        history = History()
        with gr.Tabs(selected=_identifier(first.texts.within) or first.endpoint, elem_id="tabs"):
            for title, grouped in groupby(tabs, lambda tab: tab.texts.within):
                members = list(grouped)
                selected = first if first in members else members[0]
                with _group(title, selected.endpoint) if title else nullcontext():
                    for tab in members:
                        tab.build(history)
            ComparisonTab(catalog, store).build(history)
            ModelsTab(catalog, store).build()
            with gr.Tab("History", id="history-tab", elem_id="tab-history"):
                gr.Markdown(_HISTORY)
                history.component.render()
    keep_numbers(page)
    return page


def task_tabs(catalog: Catalog, store: ModelStore, given: Offer | None = None) -> list[TaskTab]:
    """The tabs of tasks, in order; a given model is the first of its tabs."""
    generators = catalog.of(AudioModel.TYPE)
    sounds = [offer for offer in generators if not offer.musical]
    sounds.sort(key=lambda offer: (offer is not given, "prompt" not in offer.conditions))  # words say more than labels
    music = [offer for offer in generators if offer.musical]
    (speaking,), (generation, editing) = TASKS[AcousticModel.TYPE], TASKS[AudioModel.TYPE]
    (resynthesis,), (restoration,) = TASKS[VocoderModel.TYPE], TASKS[RestorationModel.TYPE]
    (upsampling,) = TASKS[UpsamplerModel.TYPE]
    upsamplers = sorted(
        catalog.of(UpsamplerModel.TYPE), key=lambda offer: (offer is not given, offer.model.sample_rate)
    )
    shared = store, catalog
    return [
        TaskTab(SPEAK, speaking, catalog.of(AcousticModel.TYPE), *shared),
        TaskTab(SOUND, generation, sounds, *shared),
        TaskTab(MUSIC, generation, music, *shared),
        TaskTab(EDIT, editing, generators, *shared),
        TaskTab(RESTORE, restoration, catalog.of(RestorationModel.TYPE), *shared),
        TaskTab(UPSAMPLE, upsampling, upsamplers, *shared),
        TaskTab(RESYNTHESIZE, resynthesis, catalog.of(VocoderModel.TYPE), *shared),
    ]


@contextmanager
def _group(title: str, selected: str) -> Iterator[None]:
    """A tab with others in it, of which one is open."""
    with gr.Tab(title, id=_identifier(title), elem_id=f"tab-{_identifier(title)}"), gr.Tabs(selected=selected):
        yield


def _identifier(title: str) -> str:
    """Of a tab with others in it; empty of none."""
    return f"{title.lower()}-tab" if title else ""
