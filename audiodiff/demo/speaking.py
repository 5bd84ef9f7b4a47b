"""Speech from text with a voice."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import gradio as gr
from gradio.components import Component

from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import MAX_SECONDS, defaults, limited
from audiodiff.demo.task import Callback, Clip, Mark, Task, Work, identity
from audiodiff.demo.uploads import read_upload
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of
from audiodiff.pipelines.edit_window import scale_progress
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.speech import Speech
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.transcript_formats import record
from audiodiff.text.lexicon import Lexicon

MAX_CHARACTERS = 2000
MAX_TOTAL_CHARACTERS = 4000  # of all clips of a request
TEXTS = {
    "text": Option(
        "text",
        f"At most {MAX_CHARACTERS} characters. [[həlˈoʊ]] is pronounced as written, [pause 0.5] is half a second.",
        "Text",
    ),
    "lexicon": Option("text", "Pronunciations, word,phonemes on each line, such as gif,dʒɪf.", "Lexicon"),
}
DEFAULTS: dict[str, Any] = {"text": "The file is ready.", "lexicon": None, **defaults(SpeechOptions)}


class SpeakingTask(Task):
    """Speaks a text."""

    COMMAND = "audiodiff say"
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Sampling": ("steps", "sampler", "guidance_scale", "temperature"),
        "Lexicon, reference and gain": ("lexicon", "reference", "energy"),
    }

    def options(self, offer: Offer) -> dict[str, Option]:
        """The text, the voice and its adapters, and the options of `SpeechOptions`; a reference where one is taken."""
        speakers = (*offer.model.speakers, *offer.adapters.speakers)
        options = limited(options_of(SpeechOptions), {"sampler": NAMES, "speaker": speakers})
        if offer.model.reference is None:
            del options["reference"]
        voice = {name: options[name] for name in ("speaker", "reference") if name in options}
        return TEXTS | voice | offer.adapters.options | options

    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of `SpeechOptions`, and the scales of adapters."""
        return DEFAULTS | offer.adapters.defaults

    def initial(self, offer: Offer) -> dict[str, Any]:
        """The model's own values and its first speaker."""
        model = offer.model
        own = {"speaker": model.speakers[0] if model.speakers else None, "steps": model.default_steps}
        own |= {"sampler": model.sampler, "guidance_scale": model.guidance, "temperature": model.temperature}
        return self.known(offer) | own

    def controls(self) -> dict[str, Callable[[], Component]]:
        """Texts of several lines."""
        return {
            name: partial(gr.Textbox, DEFAULTS[name], lines=lines, label=TEXTS[name].label, info=TEXTS[name].help)
            for name, lines in (("text", 4), ("lexicon", 3))
        }

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """The text, spoken with consecutive seeds; raises as `SpeechOptions` and `Lexicon.parse`."""
        values = offer.adapters.load(values)
        text, lines = values.pop("text") or "", values.pop("lexicon") or ""
        if len(text) > MAX_CHARACTERS:
            fix = f"shorten it to {MAX_CHARACTERS}, or use `audiodiff say`"
            raise UserError("Text", f"has {len(text)} characters", fix)
        if len(text) * count > MAX_TOTAL_CHARACTERS:
            problem = f"are more than {MAX_TOTAL_CHARACTERS} characters"
            raise UserError(f"{count} clips of {len(text)} characters", problem, "choose fewer clips or a shorter text")
        if path := values.get("reference"):
            values |= {"speaker": None, "reference": read_upload(path, MAX_SECONDS)}
        options = SpeechOptions(**values)
        lexicon = Lexicon.parse(lines.splitlines(), "Lexicon", offer.model.language) if lines.strip() else None
        spoken: list[Speech] = []

        def run(voice: SpeechSynthesizer, callback: Callback) -> list[Clip]:
            if lexicon is not None:
                loaded = (voice.model, voice.device, voice.precision, voice.model_hash, voice.training)
                voice = SpeechSynthesizer(*loaded, vocoder=voice.vocoder, lexicon=lexicon)
            shared = identity(self, offer, voice.model_hash) | {"text": text, "lexicon": lines or None}
            shared["vocoder_hash"] = voice.vocoder.model_hash
            clips = []
            for number in range(count):
                chosen = voice.complete(replace(options, seed=options.seed + number))
                speech = voice.say(text, chosen, callback=scale_progress(callback, number, count))
                spoken.append(speech)
                words = tuple(Mark(word.start, word.end, word.text) for word in speech.words)
                title = f"Seed {chosen.seed}" if count > 1 else "Speech"
                clips.append(Clip(speech.audio, title, shared | chosen.record(), words))
            return clips

        def details(_: list[Clip]) -> dict[str, Any]:
            first = spoken[0]
            return {name: [record(one) for one in getattr(first, name)] for name in ("words", "phonemes")}

        return Work(run, details)
