"""Text that remembers what it was before it was rewritten."""

import re
from collections.abc import Callable
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True)
class TracedText:
    """A text, and for each of its characters the span of the original text that it stands for.

    What a replacement has in common with the start and the end of what it replaces stands for itself, the rest for the
    rest: of "Mt." as "Mount", "M" stands for "M", and "ount" for "t.".
    """

    text: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, text: str) -> "TracedText":
        """A text that is its own original."""
        return cls(text, tuple((place, place + 1) for place in range(len(text))))

    def sub(self, pattern: re.Pattern, replacement: Callable[[re.Match], str]) -> "TracedText":
        """As `pattern.sub(replacement, text)`."""
        parts: list[str] = []
        spans: list[Span] = []
        start = 0
        for found in pattern.finditer(self.text):
            new = replacement(found)
            head = _common(found[0], new)
            tail = _common(found[0][head:][::-1], new[head:][::-1])
            first, last = found.start() + head, found.end() - tail
            parts += [self.text[start : found.start()], new]
            spans += self.spans[start:first]
            spans += [self.span(first, last)] * (len(new) - head - tail)
            spans += self.spans[last : found.end()]
            start = found.end()
        if not parts:
            return self
        return TracedText("".join([*parts, self.text[start:]]), (*spans, *self.spans[start:]))

    def strip(self) -> "TracedText":
        """Without white space at both ends."""
        start = len(self.text) - len(self.text.lstrip())
        end = max(start, len(self.text.rstrip()))
        return TracedText(self.text[start:end], self.spans[start:end])

    def span(self, start: int, end: int) -> Span:
        """What `text[start:end]` stands for; of nothing, the place that it is at."""
        if start < end:
            covered = self.spans[start:end]
            return min(begin for begin, _ in covered), max(end for _, end in covered)
        place = self.spans[start][0] if start < len(self.spans) else max((end for _, end in self.spans), default=0)
        return place, place


def _common(one: str, other: str) -> int:
    """How many letters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
