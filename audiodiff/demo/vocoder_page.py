"""The page: what goes in on the left, what comes out on the right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
from matplotlib.figure import Figure

from audiodiff.audio.io import Audio
from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.fields import LARGEST_SEED, number, skip_check
from audiodiff.demo.figure import mel_figure
from audiodiff.demo.models import LazyVocoder
from audiodiff.demo.sources import BESIDE, SPECS, MelInput, load_recording, load_saved_mel
from audiodiff.demo.visit import HOUR, Player, player, show_errors, stopwatch
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import CALLS
from audiodiff.pipelines.vocoder import Vocoder

MAX_STEPS = 50
Outputs = dict[str, Any] | tuple[Figure, Player | None, Player, dict[str, Any]]

INTRODUCTION = """# audiodiff
A mel spectrogram says how loud each band of a sound is, and nothing about its phases. A diffusion model makes the sound
again from noise, asked a few times what it hears in it. Bring a recording or a saved mel, and listen to both."""


def build(folder: str | Path | None = None, runs: str | Path = "runs", device: str = "cpu") -> gr.Blocks:
    """Lay out the page around a checkpoint `folder`, by default the newest export below `runs`, else a shipped one.

    Endpoints for `gradio_client`: `/model`, `/mel_of_recording`, `/mel_of_file`, `/resynthesize`, `/resynthesize_mel`.
    """
    app = App(LazyVocoder(Path(folder) if folder else None, Path(runs), device))
    with gr.Blocks(title="audiodiff", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRODUCTION)
        model = gr.Markdown()
        with gr.Row():
            with gr.Column(scale=2):
                with gr.Tabs():
                    with gr.Tab("A recording") as recording_tab:
                        recording = gr.Audio(
                            type="filepath", label="WAV, FLAC, OGG or MP3", elem_id="recording", buttons=["download"]
                        )
                    with gr.Tab("A saved mel") as mel_tab:
                        files = gr.File(
                            file_count="multiple",
                            file_types=[".npy", ".json", ".safetensors"],
                            height=180,
                            label=".safetensors, or .npy with its .melspec.json",
                        )
                        spec = gr.Dropdown(SPECS, value=BESIDE, label="The spec of a .npy stands")
                settings = controls()
                from_sound = gr.Button("Resynthesize", variant="primary", elem_id="resynthesize")
                from_file = gr.Button("Resynthesize the mel", variant="primary", visible=False)
                cancel = gr.Button("Cancel", elem_id="cancel")
            with gr.Column(scale=3):
                picture = gr.Plot(show_label=False, elem_id="mel")
                original = gr.Audio(label="Original", interactive=False, elem_id="original", buttons=["download"])
                result = gr.Audio(label="Resynthesized", interactive=False, elem_id="result", buttons=["download"])
                used = gr.JSON(label="Settings", open=True, max_height=280, elem_id="settings")

        recording_tab.select(lambda: one_of(0), outputs=[from_sound, from_file], api_visibility="private")
        mel_tab.select(lambda: one_of(1), outputs=[from_sound, from_file], api_visibility="private")
        page.load(app.describe, outputs=model, api_name="model")
        page.load(app.preferred, outputs=settings[:2], api_visibility="private")
        shown, made = [picture, original], [picture, original, result, used]
        queue = {"concurrency_id": "model", "concurrency_limit": 1}
        recording.change(app.show_recording, recording, shown, api_name="mel_of_recording", **queue)
        gr.on([files.change, spec.change], app.show_mel, [files, spec], shown, api_name="mel_of_file", **queue)
        queue["show_progress_on"] = result
        running = [
            from_sound.click(app.resynthesize, [recording, *settings], made, api_name="resynthesize", **queue),
            from_file.click(app.resynthesize_mel, [files, spec, *settings], made, api_name="resynthesize_mel", **queue),
        ]
        cancel.click(None, cancels=running, api_visibility="private")
    return page


def controls() -> list[gr.components.Component]:
    """Sampler, steps, seed and mel consistency, in the order in which the endpoints take them; the model sets two."""
    with gr.Group():
        with gr.Row():
            solver = gr.Dropdown(list(NAMES), value="recommended", label="Sampler")
            seed = skip_check(gr.Number(0, label="Seed"))
        calls = skip_check(gr.Slider(1, MAX_STEPS, value=6, step=1, label="Steps"))
        consistency = gr.Checkbox(True, label="Mel consistency: project the result onto the sounds that have this mel")
    return [solver, calls, seed, consistency]


def one_of(index: int) -> list[dict[str, Any]]:
    """Updates that show the button of the open tab and hide the other one."""
    return [gr.update(visible=position == index) for position in range(2)]


class App:
    """The endpoints of the page; all state is the vocoder, which loads at the first request, and its lock."""

    def __init__(self, vocoder: LazyVocoder):
        self.vocoder, self.lock = vocoder, Lock()

    def describe(self) -> str:
        """Say which model the page plays, or how to get one."""
        try:
            return f"Model: `{self.vocoder.folder}`"
        except UserError as error:
            return f"**{error}**"

    def preferred(self) -> tuple[str, int]:
        """The model's own sampler and number of steps; without a model, which `describe` says, any."""
        try:
            model = self.vocoder().model
        except UserError:
            return "recommended", CALLS
        return model.sampler, model.calls

    def show_recording(self, recording: str | None) -> tuple[Figure | None, Player | None]:
        """Draw the mel of a recording and hand back what the model hears of it: mono, at the model's rate."""
        if not recording:
            return None, None
        with show_errors():
            return self._shown(load_recording(recording, self.vocoder()))

    def show_mel(self, files: Sequence[str] | None, spec: str = BESIDE) -> tuple[Figure | None, Player | None]:
        """Draw a saved mel."""
        if not files:
            return None, None
        with show_errors():
            return self._shown(load_saved_mel(files, spec, self.vocoder()))

    def resynthesize(
        self,
        recording: str | None,
        solver: str = "recommended",
        calls: int = 6,
        seed: int = 0,
        consistency: bool = True,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it by this default)
    ) -> Iterator[Outputs]:
        """Make a recording again from its mel: its mel, the original, the result, and the settings used."""
        yield from self._resynthesized(
            lambda vocoder: load_recording(recording, vocoder), solver, calls, seed, consistency, progress
        )

    def resynthesize_mel(
        self,
        files: Sequence[str] | None,
        spec: str = BESIDE,
        solver: str = "recommended",
        calls: int = 6,
        seed: int = 0,
        consistency: bool = True,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[Outputs]:
        """Make sound from a saved mel: the mel, no original, the result, and the settings used."""
        yield from self._resynthesized(
            lambda vocoder: load_saved_mel(files, spec, vocoder), solver, calls, seed, consistency, progress
        )

    def _shown(self, source: MelInput) -> tuple[Figure, Player | None]:
        original = player(source.original) if source.original else None
        return mel_figure(source.mel, self.vocoder().spec), original

    def _resynthesized(
        self,
        load: Callable[[Vocoder], MelInput],
        solver: str | None,
        calls: float,
        seed: float,
        consistency: bool,
        progress: gr.Progress,
    ) -> Iterator[Outputs]:
        with show_errors():
            if solver is None:
                raise UserError("Sampler", "is empty", "choose one")
            calls = number("Steps", calls, 1, MAX_STEPS, whole=True)
            seed = number("Seed", seed, 0, LARGEST_SEED, whole=True)
            vocoder = self.vocoder()
            source = load(vocoder)
            options = {"steps": calls, "seed": seed, "sampler": solver, "consistency": None if consistency else 0}
            audio, elapsed = yield from run_with_progress(
                lambda callback: stopwatch(lambda: vocoder.generate(source.mel, callback=callback, **options)),
                progress,
                self.lock,
            )
            if source.original:
                audio = Audio(audio.samples[: len(source.original.samples)], audio.sample_rate)
            settings = {
                "input": source.name,
                "model": str(self.vocoder.folder),
                "model_hash": vocoder.model_hash,
                "solver": solver,
                "calls": calls,
                "seed": seed,
                "mel_consistency": bool(consistency),
                "seconds": round(audio.seconds, 3),
                "real_time_factor": round(audio.seconds / elapsed, 2),  # seconds of audio per second of work
                "mel_spec": asdict(vocoder.spec),
            }
            yield *self._shown(source), player(audio), settings
