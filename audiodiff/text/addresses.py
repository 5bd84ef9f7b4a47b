"""E-mail and web addresses and phone numbers, as they are spoken."""

import re
from collections.abc import Callable

from audiodiff.text.number_words import digits, number

_MARKS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "+": "plus", ":": "colon", 
    "?": "question mark", "=": "equals", "&": "and", "#": "hash", "~": "tilde", "%": "percent",
}  # fmt: skip
_SPELLED = {
    "www": "W W W",
    "io": "I O",
    "uk": "U K",
    "de": "D E",
    "fr": "F R",
    "ai": "A I",
    "html": "H T M L",
    "php": "P H P",
}


def _read(address: str) -> str:
    words = []
    for part in re.findall(r"[^\W\d_]+|\d+|[^\w]|_", address):
        if part.isdigit():
            words.append(number(part) if len(part) < 5 else digits(part))
        else:
            words.append(_MARKS.get(part) or _SPELLED.get(part.lower(), part if part.isalpha() else ""))
    return " ".join(filter(None, words))


def read_email(found: re.Match) -> str:
    """jane.doe@example.com as "jane dot doe at example dot com"."""
    return _read(found[0])


def read_url(found: re.Match) -> str:
    """https://example.org/a as "example dot org slash a"; a sentence's punctuation after it stays."""
    address = found[0].rstrip(".,;:!?)'")
    end = found[0][len(address) :]
    return _read(re.sub(r"^\w+://", "", address).rstrip("/")) + end


def read_phone(found: re.Match) -> str:
    """555-0123 as "five five five, zero one two three"."""
    plus = "plus " if found[0].startswith("+") else ""
    return plus + ", ".join(digits(group) for group in re.findall(r"\d+", found[0]))


_SITES = "com|org|net|edu|gov|io|co|uk|de|fr|info|ai|dev|app"
_PATH = r"[^\s<>\"“”]"
_AREA = r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])"
_END = r"(?![\w-]|[.,]\d)"
Rules = tuple[tuple[re.Pattern, Callable[[re.Match], str]], ...]
ADDRESS_RULES: Rules = (
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), read_email),
    (re.compile(rf"\b(?:https?|ftp)://{_PATH}+|\bwww\.{_PATH}+", re.I), read_url),
    (re.compile(rf"(?<![\w.@-])(?:[a-z\d-]+\.)+(?:{_SITES})\b(?:/{_PATH}*)?", re.I), read_url),
)
PHONE_RULES: Rules = (
    (re.compile(rf"(?<![\w.,-])(?:\+\d{{1,3}}[ .-]?)?{_AREA}?\d{{3}}[.-]\d{{4}}{_END}"), read_phone),
    (re.compile(rf"(?<![\w.,-]){_AREA}\d{{3}} \d{{4}}{_END}"), read_phone),
    (re.compile(r"(?<!\w)\+\d{1,3}(?:[ -]?\(?\d{1,4}\)?){2,5}(?!\w)"), read_phone),
)
