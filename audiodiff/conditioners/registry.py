"""The table of conditions: what users may request, and the conditioners by their type names in checkpoints.

Nothing heavy is imported here: the command line builds its options from `OPTIONS`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from audiodiff.options import Option

if TYPE_CHECKING:
    from audiodiff.conditioners.conditioner import Conditioner

OPTIONS: dict[str, Option] = {
    "labels": Option(
        "choice", "Class label to condition on; repeat for several.", "Labels", flag="--label", multiple=True
    ),
    "prompt": Option(
        "text",
        'Text prompt, such as "a short metallic hit"; "rain:0.7 | thunder:0.3" composes, "kick @0-1 | hat @1-" changes '
        "it at 1 s.",
        "Prompt",
    ),
    "reference": Option("audio", "Audio file whose timbre to take over.", "Reference clip"),
    "tempo": Option("number", "Tempo to condition on, in BPM.", "Tempo", unit="BPM", above=0, maximum=1000),
    "first_beat": Option(
        "number",
        "Time of a beat of the tempo, in seconds (default 0).",
        "First beat",
        unit="s",
        minimum=-600,
        maximum=600,
    ),
}


def requested(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions without those that are None or empty."""

    def empty(value: Any) -> bool:
        return value is None or (isinstance(value, str | list | tuple) and not value)

    return {name: value for name, value in conditions.items() if not empty(value)}


def conditioner_types() -> dict[str, type["Conditioner"]]:
    """Conditioners by type name."""
    from audiodiff.conditioners.beats import Beats
    from audiodiff.conditioners.excitation import HarmonicExcitation
    from audiodiff.conditioners.guidance import Guidance
    from audiodiff.conditioners.labels import Labels
    from audiodiff.conditioners.length_mask import LengthMask
    from audiodiff.conditioners.mel import Mel
    from audiodiff.conditioners.prompt import Prompt
    from audiodiff.conditioners.reference import Reference
    from audiodiff.conditioners.rough import RoughSignal
    from audiodiff.conditioners.scalars import Scalars
    from audiodiff.conditioners.speaker import Speaker

    return {
        "beats": Beats,
        "guidance": Guidance,
        "harmonic_excitation": HarmonicExcitation,
        "labels": Labels,
        "length_mask": LengthMask,
        "mel": Mel,
        "prompt": Prompt,
        "reference": Reference,
        "rough_signal": RoughSignal,
        "scalars": Scalars,
        "speaker": Speaker,
    }
