"""Editing of a recording with an audio generator: regions, extensions, gaps, bands, variations and morphs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import MAX_SECONDS, defaults, limited
from audiodiff.demo.generation import initial_steering, read_conditions, read_uploads
from audiodiff.demo.guide_menu import order, without_idle_scale
from audiodiff.demo.task import Callback, Clip, Task, Work, check_length, identity
from audiodiff.demo.uploads import read_upload
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of
from audiodiff.pipelines.audio_editor import AudioEditor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.rendering.batch_place import BatchPlace

RECORDING = Option("audio", "The recording to edit.", "Recording")
REGIONS = {"multiple": False, "help": "START:END in seconds, after commas. Drag on the waveform to select one."}
DEFAULTS = defaults(EditConfig) | {"regions": "", "recording": None}
_SHOWN = ("regions", "noise_level", "extend_left", "extend_right", "fill_gaps", "band")  # above the others
_GUIDANCE = ("negative", "guidance_scale", "guidance_rescale", "guidance_interval")


class EditingTask(Task):
    """Edits a recording."""

    COMMAND = "audiodiff edit"
    RECORDING = "recording"
    REGIONS = "regions"
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Extend, fill, band": ("extend_left", "extend_right", "fill_gaps", "band", "context"),
        "Style and morph": ("style_from", "morph", "morph_with", "morph_seed"),
        "Sampling": ("steps", "sampler"),
        "Guidance": (*_GUIDANCE, *order(options_of(EditConfig))),
    }

    def options(self, offer: Offer) -> dict[str, Option]:
        """Those of `EditConfig`, and the conditions: wanted, and of the recording as it is."""
        options = offer.guides.options(options_of(EditConfig), offer.conditions)
        ordered = {name: options.pop(name) for name in _SHOWN}
        ordered["regions"] = replace(ordered["regions"], **REGIONS)
        now = {f"from_{name}": _current(option) for name, option in offer.conditions.items()}
        found = {"recording": RECORDING} | ordered | read_conditions(offer) | now | offer.adapters.options | options
        return limited(found, {"sampler": NAMES})

    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of `EditConfig`, and the scales of adapters."""
        return DEFAULTS | offer.adapters.defaults

    def initial(self, offer: Offer) -> dict[str, Any]:
        """The model's own steps, sampler and guidance."""
        own = initial_steering(offer, DEFAULTS)
        return own | {name: DEFAULTS[name] for name in _GUIDANCE}  # which an edit without a condition does not take

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """Variations of an edit; raises as `EditConfig`."""
        if not values["recording"]:
            raise UserError("recording", "is missing", "upload a file or record one")
        values = dict(values)
        recording = read_upload(values.pop("recording"), MAX_SECONDS, channels=2, mono=True)
        values = read_uploads(self.options(offer), values)
        check_length(recording.seconds, count)
        values = offer.adapters.load(offer.guides.load(values))
        requested = {name: values.pop(name) for name in read_conditions(offer)}
        now = {name: values.pop(f"from_{name}") for name in offer.conditions}
        values["regions"] = [text.strip() for text in (values["regions"] or "").split(",") if text.strip()]
        values["band"] = values["band"] or None
        conditions = {name: value for name, value in requested.items() if value}
        from_conditions = {name: value for name, value in now.items() if value}
        config = EditConfig(conditions=conditions, from_conditions=from_conditions, **values)
        config = without_idle_scale(config, offer.model)

        def run(generator: AudioGenerator, callback: Callback) -> list[Clip]:
            found = generator
            editor = AudioEditor(found.model, found.device, found.precision, found.model_hash, found.training)
            seeds = clip_seeds(config.seed, count)
            edited = editor.edit(recording, config, callback=callback, **({"clip_seeds": seeds} if count > 1 else {}))
            shared = identity(self, offer, editor.model_hash) | editor.settings(config) | {"count": count}
            samples = list(edited.samples) if count > 1 else [edited.samples]
            titles = [f"Edited {index + 1}" for index in range(count)] if count > 1 else ["Edited"]
            own: list[dict[str, Any]] = [
                {"clip": index, "clip_seed": seed, **BatchPlace(index, count).record()}
                for index, seed in enumerate(seeds)
            ]
            if config.morph_seed is not None:
                morph_seeds = clip_seeds(config.morph_seed, count)
                own = [one | {"morph_clip_seed": seed} for one, seed in zip(own, morph_seeds, strict=True)]
            return [
                Clip(Audio(one, edited.sample_rate), title, shared | entries)
                for one, title, entries in zip(samples, titles, own, strict=True)
            ]

        return Work(run)

    def restore(self, offer: Offer, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Values of controls; regions as one text."""
        regions = settings.get("regions") or ()
        text = ", ".join(map(str, regions)) if isinstance(regions, list | tuple) else str(regions)
        return super().restore(offer, dict(settings) | {"regions": text})


def _current(option: Option) -> Option:
    """The control of a condition of the recording as it is."""
    return replace(option, label=f"{option.label} now", help="What the recording is now, to change it by inversion.")
