"""Generation of sounds and music with audio generators."""

from collections.abc import Mapping
from typing import Any, ClassVar

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Offer
from audiodiff.demo.controls import MAX_SECONDS, defaults, limited
from audiodiff.demo.guide_menu import NONE, order, without_idle_scale
from audiodiff.demo.task import Callback, Clip, Task, Work, check_length, identity
from audiodiff.demo.uploads import read_upload
from audiodiff.diffusion.samplers.presets import NAMES
from audiodiff.options import Option, options_of
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.edit_window import scale_progress
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.pipelines.steering import default_guidance, describe_guidance
from audiodiff.rendering.batch_place import BatchPlace

DEFAULTS = defaults(GenerationConfig)
BATCH_SECONDS = 30.0  # of clips that are sampled together
_FROM_CLIP = ("continue_from", "init_audio", "init_noise_level")
_SAMPLING = ("steps", "sampler", "peak_level")
_GUIDANCE = ("negative", "guidance_scale", "guidance_rescale", "guidance_interval")


class GenerationTask(Task):
    """Generates clips from noise."""

    COMMAND = "audiodiff generate"
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Sampling": _SAMPLING,
        "Guidance": (*_GUIDANCE, *order(options_of(GenerationConfig))),
        "Start from a clip": _FROM_CLIP,
    }

    def options(self, offer: Offer) -> dict[str, Option]:
        """Conditions, adapters, and the options of `GenerationConfig`; those of guides are last."""
        own = offer.guides.options(options_of(GenerationConfig), offer.conditions)
        options = read_conditions(offer) | offer.adapters.options | own
        of_guides = [name for name in read_conditions(offer) if name not in offer.conditions] + order(own)
        names = [name for name in options if name not in of_guides] + of_guides
        return limited({name: options[name] for name in names}, {"sampler": NAMES})

    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of `GenerationConfig`, and the scales of adapters."""
        return DEFAULTS | offer.adapters.defaults

    def initial(self, offer: Offer) -> dict[str, Any]:
        """The model's own values; the length begins empty: a model may decide by itself when a sound ends."""
        return initial_steering(offer, DEFAULTS)

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """Clips of a seed, in batches; raises as `GenerationConfig`."""
        values = read_uploads(self.options(offer), values)
        values = offer.adapters.load(offer.guides.load(values))
        requested = {name: values.pop(name) for name in read_conditions(offer)}
        conditions = {name: value for name, value in requested.items() if value}
        seconds = values["seconds"] or offer.model.samples / offer.model.sample_rate
        if (varied := values["init_audio"]) is not None:
            values["seconds"], seconds = None, varied.seconds  # a variation keeps the length of its clip
        if (continued := values["continue_from"]) is not None:
            seconds += continued.seconds
        check_length(seconds, count)
        config = without_idle_scale(GenerationConfig(conditions=conditions, **values), offer.model)

        def run(generator: AudioGenerator, callback: Callback) -> list[Clip]:
            seeds = clip_seeds(config.seed, count)
            batch = max(1, int(BATCH_SECONDS / max(seconds, 1e-3)))
            starts, clips = range(0, count, batch), []
            shared = identity(self, offer, generator.model_hash) | generator.settings(config)
            shared |= {"count": count, "batch_size": batch}
            for number, start in enumerate(starts):
                some = seeds[start : start + batch]
                report = scale_progress(callback, number, len(starts))
                audio = generator.generate(config, clip_seeds=some, callback=report)
                for index, samples in enumerate(audio.samples, start):
                    place = BatchPlace(index - start, len(some))
                    own = shared | {"clip": index, "clip_seed": seeds[index]} | place.record()
                    clips.append(Clip(Audio(samples, audio.sample_rate), f"Clip {index + 1}", own))
            return clips

        return Work(run)


def read_conditions(offer: Offer) -> dict[str, Option]:
    """The conditions that a model or one of its guides reads."""
    return offer.guides.conditions(offer.conditions)


def initial_steering(offer: Offer, known: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a request with the model's own steps, sampler and guidance, and no guides."""
    model = offer.model
    guidance = default_guidance(model)
    own = {"steps": model.default_steps, "sampler": model.sampler} | dict.fromkeys(offer.guides.folders, NONE)
    own |= describe_guidance(guidance, model) | {"guidance_rescale": guidance.rescale}
    return dict(known) | own | offer.adapters.defaults


def read_uploads(options: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with the recordings in place of the paths of uploads; raises as `read_upload`."""
    return {
        name: read_upload(value, MAX_SECONDS, channels=2)
        if name in options and options[name].kind == "audio" and value is not None
        else value
        for name, value in values.items()
    }
