"""Sentences of a text and clauses of a sentence, by punctuation.

A sentence ends at `.`, `!`, `?` or an ellipsis with white space after it, or at an empty line. A period does not end it
before a lower-case letter, after an initial ("J. K. Rowling") or after an abbreviation that something follows ("Dr.
Smith", "e.g. this"). Where the rule is in doubt it does not cut: two sentences in one are spoken well, half a one is
not.
"""

import re
from collections.abc import Callable, Iterator

from audiodiff.text.readings import ABBREVIATIONS, TITLES

LONGEST_SENTENCE = 1000
SENTENCE_ENDS = (".", "!", "?", "…")
PARAGRAPH = "\n\n"  # at the end of a sentence that an empty line follows
_BREAK = re.compile(r"(?<=[.!?…])[\"”’')\]]*\s+(?=\S)|\n\s*\n")
_ATOM = re.compile(r"(?P<markup>\[\[[^\[\]]*\]\]|\[pause[^\[\]]*\])\S{0,20}|\S+")
_CLAUSE_END = (",", ";", ":", "—", "–", ")", '"', "”", "]", ".", "!", "?", "…")
# Abbreviations that a sentence may well end with.
_FINAL = {"etc.", "Inc.", "Ltd.", "Corp.", "Co.", "Jr.", "Sr.", "Ave.", "Blvd.", "Rd.", "St.", "Bros.", "a.m.", "p.m."}
_OPEN = {f"{title}." for title in TITLES} | {word for word in ABBREVIATIONS if word.endswith(".")} - _FINAL


def split_sentences(text: str, spoken: Callable[[str], bool], limit: int = LONGEST_SENTENCE) -> Iterator[str]:
    """The sentences of a text, one by one, with single spaces; the last one of a paragraph ends with `PARAGRAPH`.

    Args:
        text: any text.
        spoken: whether a part has anything to pronounce; a part without (punctuation, a pause) joins its neighbor,
            or is left out where the two would be too long.
        limit: longest sentence in characters; longer ones are cut between clauses.
    """
    waiting, end = "", ""
    for part in _parts(text):
        for piece in split_clauses(part, limit):
            if waiting and spoken(waiting) and spoken(piece):
                yield waiting + end
                waiting, end = piece, ""
            elif len(waiting) + len(piece) < limit:
                waiting = f"{waiting} {piece}".strip()
            elif spoken(piece):
                waiting = piece  # so much without anything to pronounce is left out, here and where it follows
        if _ends_paragraph(part) and spoken(waiting):
            end = PARAGRAPH
    if spoken(waiting):
        yield waiting


def _parts(text: str) -> Iterator[str]:
    start = 0
    for found in _BREAK.finditer(text):
        if _ends(text, start, found):
            yield text[start : found.end()]
            start = found.end()
    yield text[start:]


def _ends_paragraph(part: str) -> bool:
    return part[len(part.rstrip()) :].count("\n") > 1


def _ends(text: str, start: int, found: re.Match) -> bool:
    if text.rfind("[[", start, found.start()) > text.rfind("]]", start, found.start()):
        return False  # inside of phonemes
    if _ends_paragraph(found[0]):
        return True
    following = text[found.end() : found.end() + 1]
    if following.islower():
        return False
    if text[found.start() - 1] != ".":
        return True
    begin = max(start, found.start() - 40)
    word = text[begin : found.start()].split()[-1].lstrip("([“\"'")
    if re.fullmatch(r"(No|Nos|pp?|[Vv]ol|[Cc]h|[Ff]ig)\.", word):
        return not following.isdigit()
    return word not in _OPEN and not re.fullmatch(r"(?:[A-HJ-Z]\.)+", word)


def split_clauses(sentence: str, limit: int) -> list[str]:
    """A sentence in parts of at most `limit` characters; markup is never cut.

    Parts end with clause punctuation where there is some, else between words, else anywhere.
    """
    pieces: list[str] = []
    current: list[str] = []
    size = 0
    for atom in _atoms(sentence, limit):
        if current and size + len(atom) > limit:
            ends = [place for place, word in enumerate(current, 1) if word.endswith(_CLAUSE_END)]
            cut = ends[-1] if ends else len(current)
            pieces.append(" ".join(current[:cut]))
            current = current[cut:]
            size = sum(len(word) + 1 for word in current)
        current.append(atom)
        size += len(atom) + 1
    return [*pieces, *([" ".join(current)] if current else [])]


def _atoms(sentence: str, limit: int) -> Iterator[str]:
    for found in _ATOM.finditer(sentence):
        atom = found[0]
        if found["markup"]:
            yield atom
        else:
            yield from (atom[start : start + limit] for start in range(0, len(atom), limit))
