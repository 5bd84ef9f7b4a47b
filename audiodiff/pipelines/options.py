"""Options of sampling, each declared once for the Python API, the command line, sidecars and the demo.

Nothing heavy is imported here: the command line builds its help from these declarations.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from audiodiff.conditioners import registry
from audiodiff.errors import UserError
from audiodiff.options import MAX_STEPS, CheckedOptions, option, options_of
from audiodiff.pipelines import adapter_options
from audiodiff.pipelines.guidance_options import MAX_GUIDANCE, OWN, GuidanceOptions, GuideOptions

if TYPE_CHECKING:
    from audiodiff.audio.io import Audio
    from audiodiff.models.adapted import AppliedAdapter

MAX_SECONDS = 24 * 3600
MIN_NOISE_LEVEL = 1e-3
ConfigT = TypeVar("ConfigT", bound="SteeringOptions")


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(CheckedOptions):
    """How a model is sampled.

    Attributes:
        steps: network evaluations per sample; None for the model's own number.
        sampler: a name from `audiodiff.diffusion.samplers.presets.NAMES`; None for the model's own.
        seed: of the noise, by the rule of `pipelines.seeds`.
        adapters: of the model, as "DIR:SCALE" (`pipelines.adapter_options`), paths, or loaded; their changes add up.

    Raises:
        UserError: a value of another type or out of range, or a folder that is no adapter.
    """

    steps: int | None = option(
        None, kind="integer", help="Denoising steps.", label="Steps", minimum=1, maximum=MAX_STEPS, default_help=OWN
    )
    sampler: str | None = option(None, kind="choice", help="Name of the sampler.", label="Sampler", default_help=OWN)
    seed: int = option(
        0, kind="integer", help="Random seed. Each clip is the same for any number of clips.", label="Seed"
    )
    adapters: "tuple[str | Path | AppliedAdapter, ...]" = option((), **adapter_options.OPTION)

    def __post_init__(self):
        """Load adapters that are given by their folders, and check every option."""
        loaded = adapter_options.load_adapters(self.adapters)
        object.__setattr__(self, "adapters", ())
        super().__post_init__()
        object.__setattr__(self, "adapters", loaded)

    def record(self) -> dict[str, Any]:
        """All options as JSON; audio, models and adapters as SHA-256 of what they consist of."""
        values = {name: as_json(getattr(self, name)) for name in options_of(self)}
        return values | {"adapters": values["adapters"] or None}  # None: as sidecars without the entry


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions(SamplingOptions):
    """How a vocoder is sampled.

    Attributes:
        steps, sampler, seed: as of `SamplingOptions`.
        consistency: iterations of mel-consistency projection; None for the model's own number, 0 disables it.
        setting: name of one of the model's settings, which steps, sampler and consistency are taken from where they are
            None; None for its default one.
    """

    consistency: int | None = option(
        None,
        kind="integer",
        help="Mel-consistency iterations after sampling (0 disables).",
        label="Mel consistency",
        minimum=0,
        default_help=OWN,
    )
    setting: str | None = option(
        None,
        kind="choice",
        help="Named setting of the model: steps, sampler and mel consistency, where not given (see audiodiff info).",
        label="Setting",
        default_help="the model's first",
    )


@dataclass(frozen=True, kw_only=True)
class UpsamplingOptions(SamplingOptions):
    """How a recording is upsampled.

    Attributes:
        steps, sampler, seed: as of `SamplingOptions`.
        cutoff: above which the recording has nothing, or nothing that is to be kept; None for half of its sample rate.
    """

    cutoff: float | None = option(
        None,
        kind="number",
        help="Frequency above which the recording has nothing, or nothing to keep.",
        label="Cutoff",
        unit="Hz",
        above=0,
        default_help="half of its sample rate",
    )


@dataclass(frozen=True, kw_only=True)
class SpeechOptions(SamplingOptions):
    """How a text is spoken.

    Attributes:
        steps, sampler, seed: as of `SamplingOptions`.
        speaker: name of a speaker, or a mixture such as "ann:0.7,bob:0.3"; None for the model's first.
        reference: a clip of another speaker, 10 to 60 seconds, whose voice is imitated; or the file that holds it. Only
            voices that were trained for it take one (`model=acoustic_reference`).
        rate: pace relative to the voice's own; 2 is twice as fast.
        pitch: shift of the pitch.
        energy: gain of the mel, which the vocoder follows.
        guidance_scale: weight of text and speaker; None for the model's own.
        temperature: of the noise that sampling starts from; None for the model's own.

    Raises:
        UserError: a value of another type or out of range, a speaker and a reference, or a file that cannot be read.
    """

    speaker: str | None = option(
        None, kind="text", help="Speaker, or a mixture: A:0.7,B:0.3.", label="Speaker", default_help="the first"
    )
    reference: "Audio | str | Path | None" = option(
        None,
        kind="audio",
        help="Audio file of another speaker to imitate, 10 to 60 s of speech, in place of a speaker.",
        label="Reference clip",
    )
    rate: float = option(1.0, kind="number", help="Speaking rate.", label="Rate", minimum=0.25, maximum=4)
    pitch: float = option(
        0.0, kind="number", help="Pitch shift.", label="Pitch", unit="semitones", minimum=-24, maximum=24
    )
    energy: float = option(0.0, kind="number", help="Gain.", label="Energy", unit="dB", minimum=-40, maximum=20)
    guidance_scale: float | None = option(
        None,
        kind="number",
        help="Guidance scale: weight of text and speaker (1 as trained).",
        label="Guidance scale",
        flag="--guidance",
        alias="--guidance-scale",
        minimum=0,
        maximum=MAX_GUIDANCE,
        default_help=OWN,
    )
    temperature: float | None = option(
        None,
        kind="number",
        help="Temperature: standard deviation of the noise that sampling starts from (1 as trained, 0 none).",
        label="Temperature",
        minimum=0,
        maximum=2,
        default_help=OWN,
    )

    def __post_init__(self):
        """Check every option, and read the reference."""
        super().__post_init__()
        if self.reference is None:
            return
        if self.speaker is not None:
            subject, problem = f"speaker {self.speaker!r:.60}", "cannot be combined with a reference"
            raise UserError(subject, problem, "use one of the two")
        if isinstance(self.reference, str | Path):
            from audiodiff.audio.io import read

            object.__setattr__(self, "reference", read(self.reference, channels=2))
        check_audio("reference", self.reference)


@dataclass(frozen=True, kw_only=True)
class SteeringOptions(GuideOptions, GuidanceOptions, SamplingOptions):
    """How a model is sampled, and what steers it.

    Attributes:
        steps, sampler, seed: as of `SamplingOptions`.
        conditions: requested conditions by name, such as `{"labels": ["kick"], "tempo": 120}`; the model's conditioners
            check them.
        negative: a prompt to steer away from; takes effect with guidance.
        guidance_scale, guidance_rescale, guidance_interval: as of `GuidanceOptions`.
        classifier, classifier_weight, autoguidance, autoguidance_weight, embedding_guidance, embedding_weight: as of
            `GuideOptions`.

    Raises:
        UserError: a value of another type or out of range, or as `GuideOptions.load_guides`.
    """

    conditions: Mapping[str, Any] = field(default_factory=dict)
    negative: str | None = option(
        None, kind="text", help="Prompt to steer away from; takes effect with --guidance.", label="Negative prompt"
    )

    def __post_init__(self):
        """Check every option and condition."""
        super().__post_init__()
        object.__setattr__(self, "conditions", check_conditions(self.conditions))
        self.load_guides()

    @property
    def fixes_length(self) -> bool:
        """Whether the sound is to last for the whole clip."""
        return True

    def unguided(self, conditions: Mapping[str, Any]) -> "SteeringOptions":
        """The same sampling of these conditions, without any guidance."""
        return SteeringOptions(steps=self.steps, sampler=self.sampler, conditions=conditions, guidance_scale=1)

    def record(self) -> dict[str, Any]:
        """All options as JSON, conditions by their names; audio and models as SHA-256 of what they consist of."""
        none: dict[str, Any] = {name: [] if option.multiple else None for name, option in registry.OPTIONS.items()}
        return super().record() | none | {name: as_json(value) for name, value in self.conditions.items()}


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(SteeringOptions):
    """What to generate.

    Attributes:
        steps, sampler, seed, conditions, negative, guidance_scale, guidance_rescale, guidance_interval: as of
            `SteeringOptions`.
        seconds: length of each clip, of a continuation what is added; None for the length that the model was trained
            on, within which the sound may end, of a variation for that of `init_audio`.
        loop: whether the end leads seamlessly to the beginning; the length is rounded to whole frames of the model.
        continue_from: a clip to continue.
        init_audio: a clip to vary.
        init_noise_level: how far a variation may depart from `init_audio`, up to 1, where nothing of it is left.
        peak_level: that each clip is normalized to, after its mean is removed; None, 0, and continuations: unchanged.

    Raises:
        UserError: a value of another type or out of range, or two options that exclude each other.
    """

    seconds: float | None = option(
        None,
        kind="number",
        help="Length of each clip.",
        label="Seconds",
        unit="s",
        above=0,
        maximum=MAX_SECONDS,
        default_help="the length of training clips",
    )
    loop: bool = option(
        False,
        kind="flag",
        help="Generate seamless loops; the length is rounded to whole frames of the model.",
        label="Seamless loop",
    )
    continue_from: "Audio | None" = option(
        None,
        kind="audio",
        help="Audio file to continue by --seconds; the output begins with it.",
        label="Continue from",
    )
    init_audio: "Audio | None" = option(None, kind="audio", help="Audio file to vary.", label="Vary")
    init_noise_level: float = option(
        0.5,
        kind="number",
        help="Noise level of variations (0.2 stays close to the input, 1 ignores it).",
        label="Noise level",
        flag="--noise-level",
        minimum=MIN_NOISE_LEVEL,
        maximum=1,
    )
    peak_level: float | None = option(
        0.9,
        kind="number",
        help="Peak level to normalize each clip to (1 is full scale, 0 disables).",
        label="Peak level",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self):
        """Check every option and what excludes what."""
        super().__post_init__()
        object.__setattr__(self, "peak_level", self.peak_level or None)
        for name in ("continue_from", "init_audio"):
            if (given := getattr(self, name)) is not None:
                check_audio(name, given)
        if sum((self.loop, self.continue_from is not None, self.init_audio is not None)) > 1:
            raise UserError("loop, continue_from and init_audio", "mutually exclusive", "use one of them")
        if self.init_audio is not None and self.seconds is not None:
            raise UserError(f"seconds {self.seconds:g}", "a variation keeps the length of init_audio", "remove it")

    @property
    def fixes_length(self) -> bool:
        """Whether the sound is to last for the whole clip: not where no length is requested."""
        return self.seconds is not None or self.loop or self.continue_from is not None or self.init_audio is not None

    def record(self) -> dict[str, Any]:
        """All options as JSON, conditions by their names; audio as the SHA-256 of its samples."""
        values = super().record() | {"peak_level": self.peak_level or 0.0}  # None of a record is an option not given
        return values | ({"init_noise_level": None} if self.init_audio is None else {})


def configure(config: ConfigT | type[ConfigT], options: Mapping[str, Any]) -> ConfigT:
    """A configuration, or the default one of a class, with options overridden.

    Names that are not its fields are those of conditions.
    """
    names = {field.name for field in fields(config)}
    conditions = {name: value for name, value in options.items() if name not in names}
    own = {name: value for name, value in options.items() if name in names}
    default = {} if isinstance(config, type) else config.conditions
    own["conditions"] = {**default, **own.pop("conditions", {}), **conditions}
    return config(**own) if isinstance(config, type) else replace(config, **own)


def check_audio(name: str, value: Any) -> None:
    """Check that the value of an option is Audio.

    Raises:
        UserError: it is not.
    """
    if not hasattr(value, "sample_rate"):
        problem = f"expected Audio, got {type(value).__name__}"
        raise UserError(name, problem, "read it with audiodiff.audio.io.read")


def check_conditions(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of a request, checked as far as their declarations go.

    Raises:
        UserError: a value of another type or out of range.
    """
    return {
        name: registry.OPTIONS[name].check(name, value) if name in registry.OPTIONS else value
        for name, value in conditions.items()
    }


def as_json(value: Any) -> Any:
    """The value of an option as JSON; audio as the SHA-256 of its samples, a guide as that of its checkpoint."""
    if hasattr(value, "record"):
        return value.record()
    if hasattr(value, "digest"):
        return value.digest
    if hasattr(value, "sample_rate"):
        return hashlib.sha256(value.samples.numpy().tobytes()).hexdigest()
    return [as_json(item) for item in value] if isinstance(value, tuple) else value
