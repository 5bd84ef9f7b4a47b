"""Options of editing, declared once for the Python API, the command line, sidecars and the demo."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from audiodiff.conditioners import registry
from audiodiff.conditioners.registry import requested
from audiodiff.errors import UserError
from audiodiff.options import option, real_number
from audiodiff.pipelines.options import (
    MAX_SECONDS,
    MIN_NOISE_LEVEL,
    SteeringOptions,
    as_json,
    check_audio,
    check_conditions,
    configure,
)

if TYPE_CHECKING:
    from audiodiff.audio.io import Audio

STYLE_NOISE_LEVEL = 0.5


@dataclass(frozen=True, kw_only=True)
class EditConfig(SteeringOptions):
    """What to change in a recording. Whatever it does not name stays as it is.

    Attributes:
        steps, sampler, seed, conditions, negative, guidance_scale, guidance_rescale, guidance_interval: as of
            `SteeringOptions`, of what is generated. The seconds of a prompt count from the start of a region.
        regions: "START:END" or (start, end) in seconds, either end may be left out; none: the whole recording, for the
            edits that start from it.
        extend_left, extend_right: seconds to generate before the start and after the end.
        fill_gaps: generate what is missing where all channels are zero for 5 ms or more between sounds.
        band: "LOW:HIGH" or (low, high) in Hz; what the regions have at other frequencies stays. Models of waveforms.
        noise_level: what is left of the regions' content, from 0.001 to 1, where nothing of it is left; of an edit by
            inversion, how far it goes back. None: 1; with `style_from` and nothing else 0.5.
        style_from: a clip whose average spectrum the regions take over before they are sampled from the noise level.
        from_conditions: what the recording is now, by name as in `conditions`. The regions are inverted to noise under
            it, and sampled from there under `conditions`.
        morph: where an edit by inversion or a morph stops on its way, from 0 to 1, where it arrives.
        morph_with: a clip to morph into: the noises of both, by inversion, are interpolated.
        morph_seed: a seed to morph into: the noises of both seeds are interpolated.
        context: seconds to each side of a region that the model sees; 0: a region is generated on its own. None: 0 for
            regions that are generated from noise as a label or prompt says, which what surrounds them would contradict;
            else what the length of the training crops leaves.

    Raises:
        UserError: a value of another type or out of range, nothing to edit, or options that exclude each other.
    """

    regions: "tuple[str | tuple[float, float], ...]" = option(
        (),
        kind="text",
        help="Part to change, as START:END in seconds; repeat for several. Either end may be left out.",
        label="Regions",
        flag="--region",
        multiple=True,
    )
    extend_left: float = option(
        0.0,
        kind="number",
        help="Length to add before the start.",
        label="Extend left",
        unit="s",
        minimum=0,
        maximum=600,
    )
    extend_right: float = option(
        0.0, kind="number", help="Length to add after the end.", label="Extend right", unit="s", minimum=0, maximum=600
    )
    fill_gaps: bool = option(
        False, kind="flag", help="Fill gaps: where all channels are zero for 5 ms or more.", label="Fill gaps"
    )
    band: "str | tuple[float, float] | None" = option(
        None,
        kind="text",
        help="Change this band of frequencies only, as LOW:HIGH in Hz.",
        label="Band",
        default_help="all frequencies",
    )
    noise_level: float | None = option(
        None,
        kind="number",
        help="Noise level: how far to depart from what is there (0.2 stays close, 1 ignores it).",
        label="Noise level",
        minimum=MIN_NOISE_LEVEL,
        maximum=1,
        default_help=f"1; {STYLE_NOISE_LEVEL:g} with --style-from",
    )
    style_from: "Audio | None" = option(
        None, kind="audio", help="Audio file whose average spectrum to take over.", label="Style from"
    )
    from_conditions: Mapping[str, Any] = field(default_factory=dict)
    morph: float = option(
        1.0,
        kind="number",
        help="How far to go towards --morph-with, --morph-seed or the new condition.",
        label="Morph",
        minimum=0,
        maximum=1,
    )
    morph_with: "Audio | None" = option(None, kind="audio", help="Audio file to morph into.", label="Morph into")
    morph_seed: int | None = option(
        None, kind="integer", help="Seed to morph into, from --seed.", label="Morph into seed", default_help="none"
    )
    context: float | None = option(
        None,
        kind="number",
        help="Length to each side of a region that the model sees (0: none).",
        label="Context",
        unit="s",
        minimum=0,
        maximum=MAX_SECONDS,
        default_help="0 for new regions with a label or prompt, else what the model's training length leaves",
    )

    def __post_init__(self):
        """Check every option and what excludes what."""
        object.__setattr__(self, "regions", interval_texts(self.regions, "regions", "region"))
        object.__setattr__(self, "band", None if self.band is None else interval_text(self.band, "band"))
        super().__post_init__()
        object.__setattr__(self, "from_conditions", check_conditions(self.from_conditions))
        for one in self.regions:
            parse_interval(str(one), "region", "s")
        if self.band is not None:
            parse_interval(str(self.band), "band", "Hz")
        for name in ("style_from", "morph_with"):
            if (clip := getattr(self, name)) is not None:
                check_audio(name, clip)
                if not clip.samples.any():
                    raise UserError(name, "is silent", "choose a clip with sound")
        self._check_combination()

    @property
    def inverts(self) -> bool:
        """Whether the regions are inverted to noise."""
        return bool(requested(self.from_conditions)) or self.morph_with is not None

    @property
    def starts_from_content(self) -> bool:
        """Whether what is generated starts from what is there."""
        return self.inverts or self.style_from is not None or self.effective_noise_level < 1

    @property
    def effective_noise_level(self) -> float:
        """The noise level that takes effect."""
        if self.noise_level is not None:
            return self.noise_level
        return STYLE_NOISE_LEVEL if self.style_from is not None and not self.inverts else 1.0

    @property
    def effective_context(self) -> float | None:
        """The context that takes effect; None: what the length of the training crops leaves."""
        named = {"labels", "prompt"} & requested(self.conditions).keys()
        needs_context = self.extend_left or self.extend_right or self.fill_gaps or self.band or self.starts_from_content
        return 0.0 if self.context is None and named and not needs_context else self.context

    def record(self) -> dict[str, Any]:
        """All options as JSON, conditions by their names, those of the recording after "from_"."""
        values: dict[str, Any] = {name: [] if option.multiple else None for name, option in registry.OPTIONS.items()}
        given = {f"from_{name}": as_json(value) for name, value in {**values, **self.from_conditions}.items()}
        return super().record() | given | {"noise_level": self.effective_noise_level, "context": self.effective_context}

    def _check_combination(self) -> None:
        added = [name for name in ("extend_left", "extend_right", "fill_gaps") if getattr(self, name)]
        if not (self.regions or added or self.starts_from_content):
            fix = "add --region START:END, --extend-right SECONDS, --noise-level 0.5 or another edit"
            raise UserError("the edit", "changes nothing", fix)
        if added and self.starts_from_content:
            raise UserError(added[0], "has no sound to start from", "make this edit in a command of its own")
        if added and self.band is not None:
            raise UserError(f"band {self.band}", f"cannot be combined with {added[0]}", "leave one of them out")
        if self.style_from is not None and self.inverts:
            raise UserError("style_from", "cannot be combined with an inversion", "leave one of them out")
        if self.style_from is not None and self.effective_noise_level == 1:
            raise UserError("style_from", "has no effect at noise level 1", "lower --noise-level, or leave it out")
        if self.morph < 1 and not self.inverts and self.morph_seed is None:
            subject, problem = f"morph {self.morph:g}", "has nothing to morph into"
            raise UserError(subject, problem, "add --morph-with FILE, --morph-seed SEED, or what the clip is now")
        if self.morph_seed is not None and self.inverts:
            raise UserError(f"morph_seed {self.morph_seed}", "the noise of an inversion has no seed", "leave it out")


def configure_edit(config: EditConfig | None, options: Mapping[str, Any]) -> EditConfig:
    """A configuration with options overridden; names that are not its fields are those of conditions.

    Those that begin with "from_" are conditions of the recording as it is.
    """
    own = {field.name for field in fields(EditConfig)}
    given = {name: value for name, value in options.items() if name.startswith("from_") and name not in own}
    others = {name: value for name, value in options.items() if name not in given}
    before = {**(config.from_conditions if config else {}), **others.pop("from_conditions", {})}
    before |= {name.removeprefix("from_"): value for name, value in given.items()}
    return configure(config or EditConfig, others | {"from_conditions": before})


def parse_interval(text: str, name: str, unit: str) -> tuple[float, float]:
    """The ends of "LOW:HIGH"; 0 and infinity where one is left out.

    Args:
        text: of the user.
        name: what errors call it.
        unit: of the ends.

    Raises:
        UserError: not two numbers, negative ones, or the higher one first.
    """
    subject = f"{name} {text!r:.60}" if not text.strip() else f"{name} {text:.60}"
    low, separator, high = text.partition(":")
    try:
        ends = float(low.strip() or 0), float(high.strip() or math.inf)
    except ValueError:
        ends = math.nan, math.nan
    if not separator or math.isnan(ends[0]) or math.isnan(ends[1]):
        example = "1.2:1.8" if unit == "s" else "2000:8000"
        raise UserError(subject, "is no interval", f"write both ends in {unit}, such as {example}")
    if min(ends) < 0:
        raise UserError(subject, f"begins below 0 {unit}", f"start at 0 {unit} or later")
    if not ends[0] < ends[1]:
        fix = f"write {ends[1]:g}:{ends[0]:g}" if ends[0] > ends[1] else "let it end later than it starts"
        raise UserError(subject, "ends before it starts" if ends[0] > ends[1] else "is empty", fix)
    return ends


def interval_texts(values: Any, option: str, name: str) -> tuple[str, ...]:
    """The intervals of an option as text.

    Args:
        values: a list, array or tensor of what `interval_text` takes; None: no intervals.
        option: its name.
        name: that errors call an interval.

    Raises:
        UserError: not a list, or as `interval_text`.
    """
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str) or not isinstance(values, Iterable | None):
        raise UserError(f"{option} {values!r:.60}", "expected a list", f"pass [{values!r:.60}]")
    return tuple(interval_text(value, name) for value in values or ())


def interval_text(value: Any, name: str) -> str:
    """ "LOW:HIGH" as it is, or of two numbers.

    Raises:
        UserError: anything else.
    """
    if isinstance(value, str):
        return value
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple):
        raise UserError(f"{name} {value!r:.60}", "is no interval", 'write "LOW:HIGH" or (low, high)')
    if len(value) != 2:
        raise UserError(f"{name} {value!r:.60}", f"has {len(value)} ends", "give two")
    return ":".join(format(real_number(end, name), ".12g") for end in value)
