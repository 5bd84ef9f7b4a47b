"""Captions from names of files and folders: "hats/HH_closed_02" is a "closed hi-hat".

A name is split at punctuation, digits and small letters before capitals. Rewrites, a pack's first, expand
abbreviations; then the longest known spellings are looked up from left to right. The last noun is the head, others
before it modify it, so that a folder's words go before a file's. What is unknown, such as takes, numbers and names of
kits, is left out. Applying the rules to the canonical text of a caption changes nothing.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import TypeVar

from audiodiff.data.captions.caption import ROLES, Caption, compose
from audiodiff.data.captions.vocabulary import vocabulary
from audiodiff.errors import UserError

_BOUNDARY = re.compile(r"[^\w]+|_+|(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_PITCH = re.compile(
    r"(?:\bin )?\b[A-G](?: sharp| flat)?(?: ?\d| (?:(?:major|minor)(?: seventh)?|(?:half-)?diminished|augmented)\b)"
)
_MOST_NOUNS = 3  # the last ones
_LONGEST = 6  # words of a spelling or a rewrite
_MOST_ROUNDS = 8
Value = TypeVar("Value")


def split_name(name: str) -> list[str]:
    """The words of a name, in small letters."""
    return [word.lower() for word in _BOUNDARY.split(unicodedata.normalize("NFKC", name)) if word]


def caption_of_name(name: str, pack: str = "") -> Caption:
    """The caption of a name, which may have folders.

    Args:
        name: of a file, without its suffix.
        pack: whose rewrites go first.

    Raises:
        UserError: the vocabulary has no noun of it.
    """
    words = _rewritten(split_name(name), vocabulary().packs.get(pack, {}))
    caption = _parsed(words)
    if caption is None:
        fix = "rename the file, or write a line for it into captions.csv"
        raise UserError(name or "a file", "names no sound that the caption rules know", fix)
    for _ in range(_MOST_ROUNDS):  # words that come next to each other may spell another one: "bass", "drum"
        before, caption = caption, _parsed(split_name(caption.text)) or caption
        if caption == before:
            break
    return caption


def _parsed(words: list[str]) -> Caption | None:
    """The caption of the words of a name; None if none of them is a known noun."""
    words = _rewritten(words, vocabulary().rewrites)
    found: dict[str, list[str]] = {role: [] for role in ROLES}
    place = 0
    while place < len(words):
        word, length = _longest(words, place, vocabulary().spelled)
        if word is not None:
            found[word.role].append(word.text)
        place += length
    nouns = _nouns(found["noun"])
    return compose(nouns, found["adjective"], found["detail"]) if nouns else None


def _nouns(found: list[str]) -> list[str]:
    """The nouns of a caption: each once, where it is closest to the head, without those that are part of another."""
    nouns = list(reversed(dict.fromkeys(reversed(found))))
    whole = [noun for noun in nouns if not any(set(noun.split()) < set(other.split()) for other in nouns)]
    return whole[-_MOST_NOUNS:]


def canonical_caption(text: str) -> str:
    """The canonical caption of any wording whose words the rules know, the same for synonymous ones; "" if of none.

    Pitches and keys, such as "A4" and "F sharp minor", count as details.
    """
    try:
        caption = caption_of_name(_PITCH.sub("", text))
    except UserError:
        return ""
    nouns, adjectives, details = (caption.of_role(role) for role in ("noun", "adjective", "detail"))
    return compose(nouns, adjectives, [*details, *_PITCH.findall(text)]).text


def _rewritten(words: list[str], table: Mapping[tuple[str, ...], tuple[str, ...]]) -> list[str]:
    """Words with the longest matches of a table replaced, from left to right, once."""
    found: list[str] = []
    place = 0
    while place < len(words):
        other, length = _longest(words, place, table)
        found += words[place : place + 1] if other is None else other
        place += length
    return found


def _longest(words: list[str], place: int, table: Mapping[tuple[str, ...], Value]) -> tuple[Value | None, int]:
    """The entry of the longest key that the words at a place begin with, and its length; (None, 1) if there is none."""
    for length in range(min(_LONGEST, len(words) - place), 0, -1):
        if (entry := table.get(tuple(words[place : place + length]))) is not None:
            return entry, length
    return None, 1
