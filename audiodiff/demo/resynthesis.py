"""Resynthesis of a recording, or of a saved mel, with a vocoder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

import gradio as gr
from gradio.components import Component

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import defaults, limited
from audiodiff.demo.task import Callback, Clip, Task, Work, check_length, identity
from audiodiff.demo.uploads import BESIDE, SPECS, MelInput, load_recording, load_saved_mel
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of
from audiodiff.pipelines.edit_window import scale_progress
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.pipelines.vocoder import Vocoder

INPUTS = {
    "recording": Option("audio", "The recording to resynthesize from its mel.", "Recording"),
    "mel": Option("audio", "A saved mel: .safetensors, or .npy with its .melspec.json.", "Saved mel"),
    "mel_spec": Option("choice", "Mel spec of a .npy file without one beside it.", "Mel spec", choices=SPECS),
}
DEFAULTS = {"recording": None, "mel": None, "mel_spec": BESIDE} | defaults(SynthesisOptions)


class ResynthesisTask(Task):
    """Resynthesizes the waveform of a mel."""

    COMMAND = "audiodiff render"
    RECORDING = "recording"
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {"A saved mel instead of a recording": ("mel", "mel_spec")}

    def options(self, offer: Offer) -> dict[str, Option]:
        """The inputs, and the options of `SynthesisOptions`."""
        settings = tuple(setting.name for setting in offer.model.settings)
        options = limited(options_of(SynthesisOptions), {"sampler": NAMES, "setting": settings})
        return INPUTS | {"setting": options.pop("setting")} | offer.adapters.options | options

    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of `SynthesisOptions`, and the scales of adapters."""
        return DEFAULTS | offer.adapters.defaults

    def initial(self, offer: Offer) -> dict[str, Any]:
        """The model's default setting; steps, sampler and consistency begin empty, as the setting has them."""
        return self.known(offer) | {"setting": offer.model.setting(None).name}

    def controls(self) -> dict[str, Callable[[], Component]]:
        """A field for several files."""
        types = [".npy", ".json", ".safetensors"]
        label = f"{INPUTS['mel'].label}: {INPUTS['mel'].help.partition(': ')[2]}"
        return {"mel": partial(gr.File, file_count="multiple", file_types=types, height=150, label=label)}

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """A recording and its resyntheses; raises as `load_recording` and `load_saved_mel`."""
        recording, files, spec = (values.pop(name) for name in INPUTS)
        if recording and files:
            raise UserError("recording and saved mel", "are both given", "remove one of them")
        options = SynthesisOptions(**offer.adapters.load(values))
        chosen = {name: getattr(options, name) for name in ("steps", "sampler", "consistency", "setting", "adapters")}

        def run(vocoder: Vocoder, callback: Callback) -> list[Clip]:
            source: MelInput = load_saved_mel(files, spec, vocoder) if files else load_recording(recording, vocoder)
            check_length(source.mel.shape[-1] * vocoder.spec.hop_length / vocoder.sample_rate, count)
            complete = vocoder.complete(options).record()
            shared = identity(self, offer, vocoder.model_hash) | complete | {"count": count, "input": source.name}
            shared["mel_spec"] = asdict(vocoder.spec)
            clips = [] if source.original is None else [Clip(source.original, "Original")]
            seeds = clip_seeds(options.seed, count)
            for number, seed in enumerate(seeds):
                report = scale_progress(callback, number, count)
                audio = vocoder.generate(source.mel, clip_seeds=[seed], callback=report, **chosen)
                assert isinstance(audio, Audio)  # of one mel
                if source.original is not None:
                    audio = Audio(audio.samples[: len(source.original.samples)], audio.sample_rate)
                title = f"Resynthesized {number + 1}" if count > 1 else "Resynthesized"
                clips.append(Clip(audio, title, shared | {"clip": number, "clip_seed": seed}))
            return clips

        return Work(run)

    def restore(self, offer: Offer, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Values of controls; the mel spec in settings is the model's, not that of a file."""
        return super().restore(offer, {name: value for name, value in settings.items() if name != "mel_spec"})
