"""Markup in a text: `[[phonemes]]` to pronounce as written, and `[pause seconds]`."""

import re

from audiodiff.errors import UserError

MARKUP = re.compile(r"\[\[(?P<phonemes>[^\[\]]*)\]\]|\[pause\b(?P<seconds>[^\[\]]*)\]")
LONGEST_PAUSE = 60.0


def split_pauses(text: str) -> list[str | float]:
    """The parts of a text between its pauses, and the pauses in seconds, in order.

    Raises:
        UserError: a pause is not a number of seconds from 0 to 60, or phonemes are not closed.
    """
    parts: list[str | float] = []
    start = 0
    for found in MARKUP.finditer(text):
        if found["seconds"] is not None:
            parts += [text[start : found.start()], _seconds(found[0], found["seconds"])]
            start = found.end()
    parts.append(text[start:])
    rest = MARKUP.sub("", text)
    if "[[" in rest:
        raise UserError(f"text {rest[rest.index('[[') :][:40]!r}", "has [[ without ]]", "write [[phonemes]]")
    return parts


def _seconds(markup: str, written: str) -> float:
    try:
        seconds = float(written)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LONGEST_PAUSE:
        raise UserError(markup, "is not a pause in seconds", f"write [pause 0.5], at most {LONGEST_PAUSE:g}")
    return seconds


def without_markup(text: str) -> str:
    """A text with a space for each markup."""
    return MARKUP.sub(" ", text)
