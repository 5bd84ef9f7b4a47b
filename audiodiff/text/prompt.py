"""The language of prompts: parts that hold at the same time or one after the other.

    a short metallic hit                   one prompt
    rain:0.7 | thunder:0.3                 both at once, by their weights (1 where none is given)
    footsteps | birds:-0.5                 with less of what is weighted negatively
    kick @0-1 | hat @1-                    a prompt for the first second, another one after it

A part is a text, an optional weight behind a colon, and an optional range of seconds behind an @, of which either end
may be left out; a dash counts as a hyphen. Both ends are written where one prompt takes over from another, because a
part without a range, as "rain" in "rain | thunder @2-", goes on.
"""

import math
from dataclasses import dataclass

from audiodiff.errors import UserError

MAX_CHARACTERS = 10_000
MAX_PARTS = 8  # each costs a network evaluation per step
MAX_WEIGHT = 100
# Hyphens, dashes and the minus sign, which keyboards and editors write for a hyphen.
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")


@dataclass(frozen=True)
class PromptPart:
    """A part of a prompt.

    Attributes:
        text: description of the sound.
        weight: of this part among those that hold at the same time.
        start, end: seconds that it holds for, from 0 to infinity by default.
    """

    text: str
    weight: float = 1.0
    start: float = 0.0
    end: float = math.inf


def parse_prompt(prompt: str) -> list[PromptPart]:
    """The parts of a prompt; of an empty one, none.

    Raises:
        UserError: more than `MAX_CHARACTERS`, too many parts, one without a text, a weight that is out of range, or
            a range that is no range.
    """
    check_length(prompt)
    if not prompt.strip():
        return []
    parts = prompt.split("|")
    if len(parts) > MAX_PARTS:
        raise UserError(f"prompt of {len(parts)} parts", "too many", f"use at most {MAX_PARTS}, each costs its time")
    return [_part(part, prompt) for part in parts]


def is_plain(text: str) -> bool:
    """Whether a text is a prompt of one part as it is, without a weight or a range."""
    try:
        return parse_prompt(text) == [PromptPart(text)]
    except UserError:
        return False


def check_length(prompt: str) -> None:
    """Check that a prompt has no more than `MAX_CHARACTERS`.

    Raises:
        UserError: it has more.
    """
    if len(prompt) > MAX_CHARACTERS:
        raise UserError(f"prompt of {len(prompt)} characters", "too long", f"use at most {MAX_CHARACTERS}")


def _part(part: str, prompt: str) -> PromptPart:
    rest, start, end = _range(part)
    rest, weight = _weight(rest, part)
    if not rest.strip():
        problem = "has a part without a text" if prompt.count("|") else "has no text"
        raise UserError(f"prompt {prompt.strip()!r:.60}", problem, 'write words, such as "rain:0.7 | thunder:0.3"')
    return PromptPart(rest.strip(), weight, start, end)


def _range(part: str) -> tuple[str, float, float]:
    """The text before its range, and both ends; what follows an @ and begins with no number belongs to the text."""
    text, mark, last = part.rpartition("@")
    last = last.translate(_HYPHENS).strip()
    ends = [end.strip() for end in last.split("-")]
    if mark and len(ends) == 2 and all(len(end.split()) < 2 for end in ends):
        start, end = _seconds(ends[0], 0.0, part), _seconds(ends[1], math.inf, part)
        if not start < end:
            raise _error(part, "ends before it starts", "write the earlier second first, such as @0-1")
        return text, start, end
    if mark and last.lstrip("-.")[:1].isdigit():
        shown = f"{last:.20}"
        if last.replace(".", "", 1).isdigit():
            raise _error(part, "has no end", f"write @{shown}- for from {shown} s on, @-{shown} for until then")
        raise _error(part, f"has {shown!r} where seconds are expected", "write a range such as @0-1 or @1-")
    return part, 0.0, math.inf


def _weight(text: str, part: str) -> tuple[str, float]:
    """The text before its weight, and the weight; what follows a colon and is no number belongs to the text."""
    rest, mark, last = text.rpartition(":")
    try:
        weight = float(last) if mark else None
    except ValueError:
        weight = None
    if weight is None:
        return text, 1.0
    if not abs(weight) <= MAX_WEIGHT:
        raise _error(part, f"has the weight {weight:g}", f"use -{MAX_WEIGHT} to {MAX_WEIGHT}, such as :0.5")
    return rest, weight


def _seconds(text: str, default: float, part: str) -> float:
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise _error(part, f"has {text!r:.20} where seconds are expected", "write a range such as @0-1 or @1-")
    return seconds


def _error(part: str, problem: str, fix: str) -> UserError:
    return UserError(f"prompt {part.strip()!r:.60}", problem, fix)
