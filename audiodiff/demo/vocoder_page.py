"""The page of a vocoder: recording or saved mel on the left, its resynthesis on the right."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
from matplotlib.figure import Figure

from audiodiff.audio.io import Audio
from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.controls import control, defaults, limited, named, parse
from audiodiff.demo.figure import mel_figure
from audiodiff.demo.models import LazyVocoder
from audiodiff.demo.responses import HOUR, Player, player, show_errors, stopwatch
from audiodiff.demo.uploads import BESIDE, SPECS, MelInput, load_recording, load_saved_mel
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import DEFAULT_STEPS
from audiodiff.options import options_of
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.pipelines.vocoder import Vocoder

DEFAULTS = defaults(SynthesisOptions)
# What controls begin with until the model is loaded.
INITIAL = DEFAULTS | {"steps": DEFAULT_STEPS, "sampler": "recommended"}
OF_SETTING = ("steps", "sampler", "consistency")

INTRODUCTION = """# audiodiff
A mel spectrogram holds the energy of frequency bands over time, but no phases. The diffusion model resynthesizes the
waveform from noise in a few denoising steps. Upload a recording or a saved mel, and compare."""


def build(folder: Path | None = None, device: str = "cpu", runs: Path = Path("runs")) -> gr.Blocks:
    """Lay out the page of a checkpoint `folder`, by default the newest export below `runs`, else a shipped vocoder.

    Endpoints for `gradio_client`: `/model`, `/mel_of_recording`, `/mel_of_file`, `/resynthesize`, `/resynthesize_mel`.
    """
    app = App(LazyVocoder(folder, runs, device))
    with gr.Blocks(title="audiodiff", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRODUCTION)
        model = gr.Markdown()
        with gr.Row():
            with gr.Column(scale=2):
                with gr.Tabs():
                    with gr.Tab("Recording") as recording_tab:
                        recording = gr.Audio(
                            type="filepath", label="WAV, FLAC, OGG or MP3", elem_id="recording", buttons=["download"]
                        )
                    with gr.Tab("Saved mel") as mel_tab:
                        files = gr.File(
                            file_count="multiple",
                            file_types=[".npy", ".json", ".safetensors"],
                            height=180,
                            label=".safetensors, or .npy with its .melspec.json",
                        )
                        spec = gr.Dropdown(SPECS, value=BESIDE, label="Mel spec of a .npy file")
                controls = {name: control(option, INITIAL[name]) for name, option in app.options.items()}
                from_sound = gr.Button("Resynthesize", variant="primary", elem_id="resynthesize")
                from_file = gr.Button("Resynthesize the mel", variant="primary", visible=False)
                cancel = gr.Button("Cancel", elem_id="cancel")
            with gr.Column(scale=3):
                picture = gr.Plot(show_label=False, elem_id="mel")
                original = gr.Audio(label="Original", interactive=False, elem_id="original", buttons=["download"])
                result = gr.Audio(label="Resynthesized", interactive=False, elem_id="result", buttons=["download"])
                settings = gr.JSON(label="Settings", open=True, max_height=280, elem_id="settings")

        buttons = [from_sound, from_file]
        recording_tab.select(lambda: show_button(0), outputs=buttons, api_visibility="private")
        mel_tab.select(lambda: show_button(1), outputs=buttons, api_visibility="private")
        page.load(app.describe, outputs=model, api_name="model")
        of_setting = [controls[name] for name in OF_SETTING]
        page.load(app.model_options, outputs=[controls["setting"], *of_setting], api_visibility="private")
        controls["setting"].input(app.setting_values, controls["setting"], of_setting, api_visibility="private")
        shown, outputs = [picture, original], [picture, original, result, settings]
        queue = {"concurrency_id": "model", "concurrency_limit": 1}
        recording.change(app.show_recording, recording, shown, api_name="mel_of_recording", **queue)
        gr.on([files.change, spec.change], app.show_mel, [files, spec], shown, api_name="mel_of_file", **queue)
        queue["show_progress_on"] = result
        of_recording = named(app.resynthesize, ["recording"], DEFAULTS)
        of_mel = named(app.resynthesize_mel, ["files", "spec"], DEFAULTS)
        running = [
            from_sound.click(of_recording, [recording, *controls.values()], outputs, api_name="resynthesize", **queue),
            from_file.click(of_mel, [files, spec, *controls.values()], outputs, api_name="resynthesize_mel", **queue),
        ]
        cancel.click(None, cancels=running, api_visibility="private")
    return page


def show_button(index: int) -> list[dict[str, Any]]:
    """Updates that show the button of the open tab and hide the other one."""
    return [gr.update(visible=position == index) for position in range(2)]


class App:
    """The endpoints of the page; all state is the vocoder, which loads at the first request, and its lock."""

    options = limited(options_of(SynthesisOptions), {"sampler": NAMES})

    def __init__(self, vocoder: LazyVocoder):
        self.vocoder, self.lock = vocoder, Lock()

    def describe(self) -> str:
        """Name the model of the page, or say how to get one."""
        try:
            return f"Model: `{self.vocoder.folder}`"
        except UserError as error:
            return f"**{error}**"

    def model_options(self) -> list[Any]:
        """The model's settings and the values of its default one; no change without a model, as `describe` says."""
        with suppress(UserError):
            names = [setting.name for setting in self.vocoder().model.settings]
            return [gr.update(choices=names, value=names[0]), *self.setting_values(names[0])]
        return [gr.skip()] * (1 + len(OF_SETTING))

    def setting_values(self, name: str | None) -> list[Any]:
        """The values of a setting, for the controls that it sets."""
        with show_errors():
            setting = self.vocoder().model.setting(name)
            return [getattr(setting, value) for value in OF_SETTING]

    def show_recording(self, recording: str | None) -> tuple[Figure | None, Player | None]:
        """Draw the mel of a recording, and return what the model is given of it: mono, at the model's rate."""
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

    def resynthesize(self, recording: str | None, *values: Any) -> Iterator[Any]:
        """Resynthesize a recording from its mel: the mel, the original, the result, and the settings used."""
        yield from self._resynthesize(lambda vocoder: load_recording(recording, vocoder), *values)

    def resynthesize_mel(self, files: Sequence[str] | None, spec: str, *values: Any) -> Iterator[Any]:
        """Synthesize audio from a saved mel: the mel, no original, the result, and the settings used."""
        yield from self._resynthesize(lambda vocoder: load_saved_mel(files, spec, vocoder), *values)

    def _shown(self, source: MelInput) -> tuple[Figure, Player | None]:
        original = player(source.original) if source.original else None
        return mel_figure(source.mel, self.vocoder().spec), original

    def _resynthesize(self, load: Callable[[Vocoder], MelInput], *values: Any) -> Iterator[Any]:
        *values, progress = values
        with show_errors():
            options = parse(self.options, DEFAULTS, values)
            vocoder = self.vocoder()
            source = load(vocoder)
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
                **asdict(vocoder.complete(SynthesisOptions(**options))),
                "seconds": round(audio.seconds, 3),
                "real_time_factor": round(audio.seconds / elapsed, 2),  # seconds of audio per second of work
                "mel_spec": asdict(vocoder.spec),
            }
            yield *self._shown(source), player(audio), settings
