"""Spoken words as the written ones that they stand for: "five dollars" as "$5"."""

from audiodiff.text.front_end import PUNCTUATION, Word
from audiodiff.text.traced import Span, TracedText

_DROPPED = 16  # letters in a row that rules drop from a token, at most


class TokenSpans:
    """Spans of the written text that the tokens of its normalized form stand for.

    Rules of pronunciation split tokens, join them, and drop characters from them, but keep their order, so that the
    tokens that they return are found again letter by letter.
    """

    def __init__(self, normalized: TracedText):
        self._normalized = normalized
        self._end = 0  # of the last token in the normalized text
        self._letters = ""
        self._spans: list[Span] = []
        self._taken = 0

    def add(self, token: str, text: str) -> None:
        """Add the next token of the normalized text, which will be returned as `text`."""
        start = max(self._normalized.text.find(token, self._end), self._end)
        self._end = start + len(token)
        self._letters += text
        if token == text:
            self._spans += [self._normalized.span(place, place + 1) for place in range(start, self._end)]
        else:
            self._spans += [self._normalized.span(start, self._end)] * len(text)

    def next(self, text: str) -> Span:
        """The span of the next token that the rules return."""
        found: list[Span] = []
        for letter in text:
            place = self._letters.find(letter, self._taken, self._taken + _DROPPED)
            if place >= 0:
                found.append(self._spans[place])
                self._taken = place + 1
        if not found:
            end = self._spans[self._taken - 1][1] if self._taken else 0
            return end, end
        return min(start for start, _ in found), max(end for _, end in found)


def written_words(spoken: list[tuple[Word, Span]], text: str, phonemes: str) -> list[Word]:
    """The written words of a text, in order.

    Spoken words are one written word where they stand for the same characters ("5 p.m."), or where neither white space
    nor punctuation parts theirs ("COVID-19").

    Args:
        spoken: words, each with the span of `text` that it stands for.
        text: as written, with markup.
        phonemes: that the words are spans of.
    """
    groups: list[list[Word]] = []
    spans: list[Span] = []
    for word, (start, end) in spoken:
        start, end = _strip(text, start, end)
        if groups and not _parted(text[spans[-1][1] : start]):
            groups[-1].append(word)
            spans[-1] = min(spans[-1][0], start), max(spans[-1][1], end)
        else:
            groups.append([word])
            spans.append((start, end))
    return [_join(group, text[start:end], phonemes) for group, (start, end) in zip(groups, spans, strict=True)]


def _strip(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _parted(gap: str) -> bool:
    return any(letter.isspace() or letter in PUNCTUATION for letter in gap)


def _join(group: list[Word], text: str, phonemes: str) -> Word:
    """One word of several spoken ones."""
    spoken = " ".join(word.text for word in group)
    written = " ".join(text.replace("[[", "").replace("]]", "").split())
    written = written.lstrip(PUNCTUATION).rstrip(PUNCTUATION.replace(".", "")) or spoken
    start, end = group[0].start, group[-1].end
    same = spoken == written.strip(PUNCTUATION)
    return Word(written, phonemes[start:end], start, end, "" if same else spoken)
