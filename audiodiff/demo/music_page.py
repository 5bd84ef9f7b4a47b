"""The page of a model of music: what clips are to be on the left, what came of it on the right."""

import time
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import torch
from matplotlib.figure import Figure

from audiodiff.audio.io import Audio, read
from audiodiff.demo.figure import spectrum_figure
from audiodiff.demo.visit import HOUR, Player, player, spoken
from audiodiff.errors import UserError
from audiodiff.synthesis.music import MusicGenerator

NOTHING, AFTER, LIKE = "From nothing", "Go on with the clip", "Vary the clip"
LONGEST_SECONDS = 120.0  # that a visitor may ask for

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
                tempo = gr.Number(0, minimum=0, label="Beats a minute, 0 for any", visible="tempo" in model.numbers)
                told = bool(model.labels or model.numbers)
                guidance = gr.Slider(1, 6, 1, step=0.5, label="How strictly", visible=told)
                own = model.samples / model.sample_rate
                seconds = gr.Slider(min(0.5, own), LONGEST_SECONDS, own, step=0.1, label="Seconds")
                with gr.Row():
                    calls = gr.Slider(1, 100, value=model.calls, step=1, label="Calls of the network")
                    seed = gr.Number(0, precision=0, minimum=0, label="Seed")
                loop = gr.Checkbox(False, label="Loop: the end leads to the beginning")
                with gr.Accordion("From a clip of yours", open=False):
                    clip = gr.Audio(type="filepath", label="WAV, FLAC, OGG or MP3", elem_id="clip")
                    use = gr.Radio([NOTHING, AFTER, LIKE], value=NOTHING, show_label=False)
                    strength = gr.Slider(0.05, 1, 0.5, step=0.05, label="How much a variation may differ")
                button = gr.Button("Generate", variant="primary", elem_id="generate")
            with gr.Column(scale=3):
                picture = gr.Plot(show_label=False, elem_id="spectrum")
                result = gr.Audio(label="Generated", interactive=False, elem_id="result", buttons=["download"])
                used = gr.JSON(label="Settings", open=True, max_height=280, elem_id="settings")
        wishes = [labels, tempo, guidance, seconds, calls, seed, loop, clip, use, strength]
        button.click(app.generate, wishes, [picture, result, used], api_name="generate", concurrency_limit=1)
    return page


class App:
    """The endpoint of the page."""

    def __init__(self, folder: Path, device: str):
        self.folder, self.device, self._lock = folder, device, Lock()

    @cached_property
    def generator(self) -> MusicGenerator:
        """The loaded model."""
        return MusicGenerator.from_pretrained(self.folder, self.device)

    def generate(
        self,
        labels: list[str],
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
    ) -> tuple[Figure, Player, dict[str, Any]]:
        """One clip: its spectrogram, its sound, and the settings used."""
        with spoken(), self._lock:
            wish = {"labels": list(labels or ()), "tempo": tempo or None, "guidance": guidance, "loop": loop}
            wish |= {"steps": int(calls), "seconds": None if use == LIKE else seconds}
            if use != NOTHING:
                if not clip:
                    raise UserError("the clip", "is missing", "upload one, or start from nothing")
                wish |= {"after" if use == AFTER else "like": read(clip, channels=2), "strength": strength}
            if not (wish["labels"] or wish["tempo"]):
                wish["guidance"] = 1.0  # with nothing to go to there is nothing to be strict about
            started = time.perf_counter()
            told = lambda at: progress((at.done, at.total), desc="asking the network", unit="calls")  # noqa: E731
            audio = self.generator.generate(int(seed), callback=told, **wish)
        told = {name: value for name, value in wish.items() if not isinstance(value, Audio)}
        told |= {"model": str(self.folder), "model_hash": self.generator.model_hash, "seed": int(seed), "use": use}
        told["real_time_factor"] = round(audio.seconds / (time.perf_counter() - started), 2)
        return spectrum_figure(torch.atleast_2d(audio.samples).mean(0), audio.sample_rate), player(audio), told
