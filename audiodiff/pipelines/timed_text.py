"""Words and phonemes with their times."""

from dataclasses import dataclass, replace
from typing import TypeVar


@dataclass(frozen=True)
class TimedWord:
    """A word as it is written and when it is spoken, in seconds; `spoken` says how, where it is not read as written."""

    text: str
    start: float
    end: float
    spoken: str = ""


@dataclass(frozen=True)
class TimedPhoneme:
    """A symbol of the phonemes and when it is spoken, in seconds; an empty symbol is silence."""

    symbol: str
    start: float
    end: float


Timed = TypeVar("Timed", TimedWord, TimedPhoneme)


def later(one: Timed, seconds: float) -> Timed:
    """The same, `seconds` later."""
    return replace(one, start=one.start + seconds, end=one.end + seconds)
