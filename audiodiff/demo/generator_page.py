"""The page of a model of music: what clips are to be on the left, what came of it on the right."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import torch
from matplotlib.figure import Figure

from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.fields import LARGEST_SEED, number, skip_check
from audiodiff.demo.figure import spectrum_figure
from audiodiff.demo.sources import read_upload
from audiodiff.demo.visit import HOUR, Player, player, show_errors, stopwatch
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator

NOTHING, AFTER, LIKE = "From nothing", "Go on with the clip", "Vary the clip"
LONGEST_SECONDS = 120.0  # of what is generated, and of a clip that is given
MAX_STEPS = 100

INTRODUCTION = """# audiodiff
A diffusion model makes sound from noise, asked a few times what it hears in it. Choose what it is to be, and listen."""


def build(folder: Path, device: str = "cpu") -> gr.Blocks:
    """Lay out the page around a checkpoint `folder` of a model of music; endpoint for `gradio_client`: `/generate`."""
    app = App(folder, device)
    model = app.generator.model
    with gr.Blocks(title="audiodiff", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRODUCTION)
        gr.Markdown(f"Model: `{folder}`")
        with gr.Row():
            with gr.Column(scale=2):
                labels = gr.CheckboxGroup(list(model.labels), label="What it is to be", visible=bool(model.labels))
                skip_check(labels)
                tempo = skip_check(
                    gr.Number(0, label="Beats a minute, 0 for any", visible="tempo" in model.condition_options())
                )
                conditional = bool(model.condition_options())
                guidance = skip_check(gr.Slider(1, 6, 1, step=0.5, label="How strictly", visible=conditional))
                length = skip_check(
                    gr.Slider(app.shortest_seconds, LONGEST_SECONDS, app.default_seconds, step=0.1, label="Seconds")
                )
                with gr.Row():
                    calls = skip_check(gr.Slider(1, MAX_STEPS, model.calls, step=1, label="Steps"))
                    seed = skip_check(gr.Number(0, label="Seed"))
                loop = gr.Checkbox(False, label="Loop: the end leads to the beginning")
                with gr.Accordion("From a clip of yours", open=False):
                    clip = gr.Audio(type="filepath", label="WAV, FLAC, OGG or MP3", elem_id="clip")
                    use = gr.Radio([NOTHING, AFTER, LIKE], value=NOTHING, show_label=False)
                    strength = skip_check(gr.Slider(0.05, 1, 0.5, step=0.05, label="How much a variation may differ"))
                button = gr.Button("Generate", variant="primary", elem_id="generate")
                cancel = gr.Button("Cancel", elem_id="cancel")
            with gr.Column(scale=3):
                picture = gr.Plot(show_label=False, elem_id="spectrum")
                result = gr.Audio(label="Generated", interactive=False, elem_id="result", buttons=["download"])
                used = gr.JSON(label="Settings", open=True, max_height=280, elem_id="settings")
        inputs = [labels, tempo, guidance, length, calls, seed, loop, clip, use, strength]
        outputs = [picture, result, used]
        queue = {"concurrency_limit": 1, "show_progress_on": result}
        running = button.click(app.generate, inputs, outputs, api_name="generate", **queue)
        cancel.click(None, cancels=running, api_visibility="private")
    return page


class App:
    """The endpoint of the page."""

    def __init__(self, folder: Path, device: str):
        self.folder, self.device, self.lock = folder, device, Lock()

    @cached_property
    def generator(self) -> AudioGenerator:
        """The loaded model."""
        return AudioGenerator.from_pretrained(self.folder, self.device)

    @property
    def default_seconds(self) -> float:
        """Seconds of the clips that the model was trained on."""
        return self.generator.model.samples / self.generator.model.sample_rate

    @property
    def shortest_seconds(self) -> float:
        """Seconds that a clip has at least."""
        return min(0.5, self.default_seconds)

    def generate(
        self,
        labels: list[str] | None,
        tempo: float = 0,
        guidance: float = 1.0,
        seconds: float = 1.0,
        calls: int = 10,
        seed: int = 0,
        loop: bool = False,
        clip: str | None = None,
        use: str = NOTHING,
        strength: float = 0.5,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it by this default)
    ) -> Iterator[dict[str, Any] | tuple[Figure, Player, dict[str, Any]]]:
        """One clip: its spectrogram, its sound, and the settings used."""
        with show_errors():
            if not isinstance(labels, list | None):
                raise UserError("What it is to be", "is no list", "give a list of the model's labels")
            seed = number("Seed", seed, 0, LARGEST_SEED, whole=True)
            options = {
                "labels": list(labels or ()),
                "tempo": number("Beats a minute", tempo, 0, 1000) or None,
                "guidance_scale": number("How strictly", guidance, 1, 6),
                "seed": seed,
                "loop": bool(loop),
                "steps": number("Steps", calls, 1, MAX_STEPS, whole=True),
                "seconds": None if use == LIKE else number("Seconds", seconds, self.shortest_seconds, LONGEST_SECONDS),
            }
            if not (options["labels"] or options["tempo"]):
                options["guidance_scale"] = 1.0  # with nothing to go to there is nothing to be strict about
            given = self._given(clip, use, strength)
            audio, elapsed = yield from run_with_progress(
                lambda callback: stopwatch(lambda: self.generator.generate(callback=callback, **options | given)),
                progress,
                self.lock,
            )
            settings = options | {"init_noise_level": given["init_noise_level"]} if given else options
            settings |= {"model": str(self.folder), "model_hash": self.generator.model_hash, "seed": seed, "use": use}
            settings["real_time_factor"] = round(audio.seconds / elapsed, 2)
            mono = torch.atleast_2d(audio.samples).mean(0)
            yield spectrum_figure(mono, audio.sample_rate), player(audio), settings

    def _given(self, clip: str | None, use: str, strength: float) -> dict[str, Any]:
        """The clip that is gone on with or varied, if any, as an option of the generator."""
        if use not in (AFTER, LIKE):
            return {}
        if not clip:
            raise UserError("the clip", "is missing", "upload one, or start from nothing")
        strength = number("How much a variation may differ", strength, 0.05, 1)
        audio = read_upload(clip, LONGEST_SECONDS, channels=2)
        return {"continue_from" if use == AFTER else "init_audio": audio, "init_noise_level": strength}
