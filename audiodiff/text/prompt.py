"""The language of prompts: parts that hold at the same time or one after the other.

    a short metallic hit                   one prompt
    rain:0.7 | thunder:0.3                 both at once, by their weights (1 where none is given)
    footsteps | birds:-0.5                 with less of what is weighted negatively
    kick @0-1 | hat @1-                    a prompt for the first second, another one after it

A part is a text, an optional weight behind a colon, and an optional range of seconds behind an @, of which either end
may be left out. Both ends are written where one prompt takes over from another, because a part without a range, as
"rain" in "rain | thunder @2-", goes on.
"""

import math
import re
from dataclasses import dataclass

from audiodiff.errors import UserError

MAX_PARTS = 8  # each costs a network evaluation per step
MAX_WEIGHT = 100
_RANGE = re.compile(r"@\s*([^\s@-]*)\s*-\s*([^\s@-]*)\s*$")
_WEIGHT = re.compile(r":\s*([^\s:]+)\s*$")


@dataclass(frozen=True)
class PromptPart:
    """A part of a prompt.

    Attributes:
        text: what is to be heard.
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
        UserError: too many parts, one without a text, a weight that is out of range, or a range that is no range.
    """
    if not prompt.strip():
        return []
    parts = prompt.split("|")
    if len(parts) > MAX_PARTS:
        raise UserError(f"prompt of {len(parts)} parts", "too many", f"use at most {MAX_PARTS}, each costs its time")
    return [_part(part, prompt) for part in parts]


def _part(part: str, prompt: str) -> PromptPart:
    rest, start, end = part, 0.0, math.inf
    if found := _RANGE.search(rest):
        start, end = _seconds(found[1], 0.0, part), _seconds(found[2], math.inf, part)
        rest = rest[: found.start()]
        if not start < end:
            raise _error(part, "ends before it starts", "write the earlier second first, such as @0-1")
    elif re.search(r"@\s*[\d.]+\s*$", rest):
        second = rest.rpartition("@")[2].strip()
        raise _error(part, "has no end", f"write @{second}- for from {second} s on, @-{second} for until then")
    rest, weight = _weight(rest, part)
    if not rest.strip():
        problem = "has a part without a text" if prompt.count("|") else "has no text"
        raise UserError(f"prompt {prompt.strip()!r:.60}", problem, 'write words, such as "rain:0.7 | thunder:0.3"')
    return PromptPart(rest.strip(), weight, start, end)


def _weight(text: str, part: str) -> tuple[str, float]:
    """The text before its weight, and the weight; what follows a colon and is no number belongs to the text."""
    found = _WEIGHT.search(text)
    try:
        weight = float(found[1]) if found else None
    except ValueError:
        weight = None
    if weight is None or found is None:
        return text, 1.0
    if not abs(weight) <= MAX_WEIGHT:
        raise _error(part, f"has the weight {weight:g}", f"use -{MAX_WEIGHT} to {MAX_WEIGHT}, such as :0.5")
    return text[: found.start()], weight


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
