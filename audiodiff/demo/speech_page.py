"""The page of a voice: a text on the left; its mel as it forms, its audio and the times of its words on the right."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr

from audiodiff.demo.adapter_menu import AdapterMenu
from audiodiff.demo.cancellation import run_with_progress
from audiodiff.demo.controls import control, defaults, limited, named, parse
from audiodiff.demo.figure import mel_figure, speech_figure
from audiodiff.demo.responses import HOUR, player, show_errors, stopwatch, with_warnings
from audiodiff.demo.uploads import MAX_SECONDS, read_upload
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.speech import Speech
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.transcript_formats import record
from audiodiff.text.lexicon import Lexicon

INTRODUCTION = """# audiodiff
A diffusion model speaks a text: phonemes, durations and pitch are predicted, and a mel spectrogram forms from noise in
a few denoising steps. Write `[[həlˈoʊ]]` to pronounce something as written, and `[pause 0.5]` for half a second."""
MAX_CHARACTERS = 2000
TEXTS = {
    "text": Option("text", f"English text, at most {MAX_CHARACTERS} characters.", "Text"),
    "lexicon": Option("text", "Pronunciations, word,phonemes on each line, such as gif,dʒɪf.", "Lexicon"),
}
DEFAULTS: dict[str, Any] = {
    "text": "The file is ready.",
    "lexicon": None,
    **defaults(SpeechOptions),
}
FEWER = ("energy", "guidance_scale", "temperature", "sampler")  # shown together, below the others


def build(folder: Path, device: str = "cpu", adapters: Sequence[str] = ()) -> gr.Blocks:
    """Lay out the page of a voice's checkpoint `folder`; endpoint for `gradio_client`: `/speak`.

    Raises:
        UserError: as `AdapterMenu.for_model`.
    """
    app = App(folder, device, adapters)
    controls = {}
    with gr.Blocks(title="audiodiff", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRODUCTION)
        gr.Markdown(f"Model: `{folder}`")
        with gr.Row():
            with gr.Column(scale=2):
                controls["text"] = gr.Textbox(DEFAULTS["text"], lines=4, label="Text", elem_id="text")
                for name, option in app.options.items():
                    if name not in TEXTS and name not in FEWER:
                        controls[name] = control(option, app.defaults[name])
                with gr.Accordion("Lexicon and more", open=False):
                    lexicon = app.options["lexicon"]
                    controls["lexicon"] = gr.Textbox(lines=3, label=lexicon.label, info=lexicon.help, elem_id="lexicon")
                    for name in FEWER:
                        controls[name] = control(app.options[name], app.defaults[name])
                button = gr.Button("Speak", variant="primary", elem_id="speak")
                cancel = gr.Button("Cancel", elem_id="cancel")
            with gr.Column(scale=3):
                picture = gr.Plot(show_label=False, elem_id="mel")
                result = gr.Audio(label="Speech", interactive=False, elem_id="result", buttons=["download"])
                times = gr.Plot(show_label=False, elem_id="times")
                settings = gr.JSON(label="Settings and times", open=False, max_height=280, elem_id="settings")
        queue = {"concurrency_limit": 1, "show_progress_on": result}
        endpoint = named(app.speak, [], {name: app.known[name] for name in app.options})
        inputs, outputs = [controls[name] for name in app.options], [picture, result, times, settings]
        running = button.click(endpoint, inputs, outputs, api_name="speak", **queue)
        cancel.click(None, cancels=running, api_visibility="private")
    return page


class App:
    """The endpoint of the page."""

    def __init__(self, folder: Path, device: str, adapters: Sequence[str] = ()):
        self.folder, self.device, self.lock, self._adapters = folder, device, Lock(), adapters

    @cached_property
    def synthesizer(self) -> SpeechSynthesizer:
        """The loaded voice and its vocoder."""
        return SpeechSynthesizer.from_pretrained(self.folder, self.device)

    @cached_property
    def adapters(self) -> AdapterMenu:
        """Adapters of the voice."""
        return AdapterMenu.for_model(self.synthesizer.model, self._adapters)

    @cached_property
    def options(self) -> dict[str, Option]:
        """All options of the page, in order; a reference clip for voices that take one."""
        speakers = (*self.synthesizer.speakers, *self.adapters.speakers)
        options = limited(options_of(SpeechOptions), {"sampler": NAMES, "speaker": speakers})
        if self.synthesizer.model.reference is None:
            del options["reference"]
        voice = {name: options[name] for name in ("speaker", "reference") if name in options}
        first = {name: options[name] for name in ("rate", "pitch", "steps", "seed")}
        return TEXTS | voice | self.adapters.options | first | options

    @property
    def known(self) -> dict[str, Any]:
        """The defaults of all options."""
        return DEFAULTS | self.adapters.defaults

    @property
    def defaults(self) -> dict[str, Any]:
        """The values that controls begin with: the model's own, where the option's default is None."""
        return self.known | vars(self.synthesizer.complete(SpeechOptions()))

    def speak(self, *values: Any) -> Iterator[Any]:
        """Speak a text: its mel, its audio, its waveform with words and phonemes, and the settings with all times.

        A lexicon has a word and its phonemes on each line; a reference clip takes the place of the speaker. While the
        mel forms, only the mel is sent.
        """
        *values, progress = values
        with show_errors():
            chosen = self.adapters.load(parse(self.options, self.known, values))
            text, synthesizer = chosen.pop("text"), self._with_lexicon(chosen.pop("lexicon"))
            if len(text) > MAX_CHARACTERS:
                fix = f"shorten it to {MAX_CHARACTERS}, or use `audiodiff say`"
                raise UserError("Text", f"has {len(text)} characters", fix)
            if path := chosen.get("reference"):
                chosen |= {"speaker": None, "reference": read_upload(path, MAX_SECONDS)}
            options = SpeechOptions(**chosen)

            def say(callback: Callable[[Progress], None]) -> tuple[tuple[Speech, list[str]], float]:
                return stopwatch(lambda: with_warnings(lambda: synthesizer.say(text, options, callback=callback)))

            (speech, messages), elapsed = yield from run_with_progress(say, progress, self.lock, self._forming)
            settings = options.record() | {"model": str(self.folder), "model_hash": synthesizer.model_hash}
            settings["real_time_factor"] = round(speech.seconds / elapsed, 2)
            settings["warnings"] = messages
            for message in messages:
                gr.Warning(message)
            settings["words"] = [record(word) for word in speech.words]
            settings["phonemes"] = [record(phoneme) for phoneme in speech.phonemes]
            yield gr.skip(), player(speech.audio), speech_figure(speech), settings

    def _forming(self, progress: Progress) -> Any:
        """What the page shows after a step: the mel that the model estimates."""
        if progress.mel is None:
            return gr.skip()
        return mel_figure(progress.mel, self.synthesizer.model.mel_spec), gr.skip(), gr.skip(), gr.skip()

    def _with_lexicon(self, lines: str | None) -> SpeechSynthesizer:
        voice = self.synthesizer
        if not (lines and lines.strip()):
            return voice
        lexicon = Lexicon.parse(lines.splitlines(), "Lexicon", voice.model.language)
        loaded = (voice.model, voice.device, voice.precision, voice.model_hash, voice.training)
        return SpeechSynthesizer(*loaded, vocoder=voice.vocoder, lexicon=lexicon)
