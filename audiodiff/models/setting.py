"""`Setting`: a named way to sample a vocoder, such as a fast and a good one of the same checkpoint."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError, did_you_mean
from audiodiff.options import MAX_STEPS
from audiodiff.ranges import NonNegative, Positive

DEFAULT = "default"
DEFAULT_STEPS = 6
MAX_ITERATIONS = 1000
_NAME = re.compile(r"[A-Za-z][\w-]{0,39}")


@dataclass(frozen=True)
class Setting:
    """A named way to sample a vocoder.

    The time grid is the one that the model stores for this sampler and number of steps, or else the sampler's own.

    Args:
        name: letters, digits, `-` and `_`, the first a letter.
        steps: network evaluations per sample.
        sampler: a name from `audiodiff.diffusion.samplers.presets.NAMES`.
        consistency: iterations of mel consistency after sampling; 0: none.

    Raises:
        UserError: another name, an unknown sampler, fewer steps than it needs, or a number out of range.
    """

    name: str = DEFAULT
    steps: Positive = DEFAULT_STEPS
    sampler: str = "recommended"
    consistency: NonNegative = 32

    def __post_init__(self):
        """Check every value."""
        if not _NAME.fullmatch(self.name):
            problem = "must be letters, digits, - or _, the first a letter"
            raise UserError(f"setting {self.name!r:.60}", problem, "choose a name such as fast")
        if not 1 <= self.steps <= MAX_STEPS:
            raise UserError(f"steps {self.steps}", f"must be 1 to {MAX_STEPS}")
        if not 0 <= self.consistency <= MAX_ITERATIONS:
            raise UserError(f"consistency {self.consistency}", f"must be 0 to {MAX_ITERATIONS}", "0 disables it")
        presets.build(self.sampler, self.steps)

    def __str__(self) -> str:
        """The values in words."""
        steps = f"{self.steps} step{'s' * (self.steps > 1)}"
        return f"{steps} of {self.sampler}, mel consistency {self.consistency}"


def nearest_steps(steps: int, validated: Sequence[int] | None, sampler: str) -> int:
    """The number of steps nearest to `steps` that a model was validated with, but no fewer than its sampler needs."""
    fewest, most = validated or (steps, steps)
    needed = presets.PRESETS[sampler].min_nfe if sampler in presets.PRESETS else 1
    return max(needed, min(max(steps, fewest), most))


def check_settings(settings: Sequence[Setting]) -> None:
    """Check that a model has settings, and each name once.

    Raises:
        UserError: it has none, or two of one name.
    """
    names = [setting.name for setting in settings]
    if not names:
        raise UserError("settings", "are empty", "give one, such as Setting(steps=4)")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"setting {name}", "is a duplicate", "remove one")


def find_setting(settings: Sequence[Setting], name: str | None) -> Setting:
    """The setting of a name; None: the first, which is the default.

    Raises:
        UserError: there is none of that name; lists the known ones.
    """
    if name is None:
        return settings[0]
    known = {setting.name: setting for setting in settings}
    if name not in known:
        if len(known) == 1:
            only = f"leave it out: the model has one setting, {settings[0].name}"
            raise UserError(f"setting {name!r:.60}", "this model has no such setting", only)
        fix = did_you_mean(name, known, f"choose {' or '.join(known)}")
        raise UserError(f"setting {name!r:.60}", "this model has no such setting", fix)
    return known[name]


def change_setting(settings: Sequence[Setting], name: str, default: bool = False, **values: Any) -> list[Setting]:
    """Settings with one added or changed.

    Args:
        settings: of a model.
        name: of the setting.
        default: whether it comes first; an only setting that has no name of its own is then replaced.
        values: steps, sampler and consistency; of those left out a new setting takes the default's.

    Raises:
        UserError: as `Setting`.
    """
    known = {one.name: one for one in settings}
    if default and list(known) == [DEFAULT]:
        known.clear()
    new = replace(known.get(name, settings[0]), name=name, **values)
    others = [one for one in known.values() if one.name != name]
    return [new, *others] if default else list((known | {name: new}).values())
