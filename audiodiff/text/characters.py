"""Characters of a text that English front ends can read; the others are named, never silently dropped."""

import re
import unicodedata

from audiodiff.text.markup import MARKUP
from audiodiff.text.readings import SYMBOLS
from audiodiff.text.symbols import describe

_ALIKE = {
    "\r": "\n", "’": "'", "‘": "'", "ʼ": "'", "′": "'", "`": "'", "´": "'", "«": "“", "»": "”", "„": "“", "‟": "“",
    "″": '"', "‹": "'", "›": "'", "‚": ",", "‐": "-", "‑": "-", "‒": "–", "―": "—", "−": "-", "⁄": "/", "、": ",",
    "。": ".", "¿": "", "¡": "",
}  # fmt: skip
_KEPT = set("–—…“”\n")
_LETTERS = {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "ŋ": "ng", "ħ": "h", "Ħ": "H"}
_LONE_GREEK = re.compile(r"(?<![\w\u0370-\u03ff])[\u0391-\u03a9\u03b1-\u03c9](?![\w\u0370-\u03ff])")
_NAMED = 8


def clean(text: str) -> tuple[str, list[str]]:
    """A text in the characters that can be read, and those that cannot, each once.

    Accents stay where they are common, letters of other forms (full width, ligatures) become plain ones, invisible
    characters go, and what nobody pronounces becomes a space. Phonemes in markup stay as they are.
    """
    cleaned: list[str] = []
    unknown: dict[str, None] = {}
    start = 0
    for found in [*MARKUP.finditer(text), None]:
        part = unicodedata.normalize("NFC", text[start : found.start() if found else len(text)])
        part = part.replace("\r\n", "\n")
        part = _LONE_GREEK.sub(lambda letter: f" {unicodedata.name(letter[0]).split()[-1].lower()} ", part)
        readings = {character: _reading(character) for character in sorted(set(part))}
        unknown |= {character: None for character in part if readings[character] is None}
        cleaned.append(part.translate({ord(key): " " if new is None else new for key, new in readings.items()}))
        if found:
            cleaned.append(found[0])
            start = found.end()
    return "".join(cleaned), list(unknown)


def _reading(character: str) -> str | None:
    """What stands for a character, "" for an invisible one; None if nobody pronounces it."""
    if " " <= character <= "~" or character in _KEPT or character in SYMBOLS:
        return character
    if character in _ALIKE or character in _LETTERS:
        return _ALIKE.get(character) or _LETTERS.get(character, "")
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if category in ("Cf", "Mn", "Me"):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category[0] == "L" and "À" <= character <= "ſ":
        return character
    plain = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    return plain if plain.isascii() and plain.isalnum() else None


def name_characters(characters: list[str]) -> str:
    """Characters for a message: each with its code point, the first few of many."""
    more = len(characters) - _NAMED
    return ", ".join(map(describe, characters[:_NAMED])) + (f" and {more} more" if more > 0 else "")
