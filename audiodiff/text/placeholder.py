"""Names that training gives a meaning: placeholders, new words of prompts such as `<my-drum>`; and new speakers."""

import re

PATTERN = re.compile(r"<[a-z0-9][a-z0-9_-]{0,30}>")
_LONGEST_NAME = 80


def is_placeholder(word: str) -> bool:
    """Whether a word is a placeholder: small letters of ASCII, digits, - and _ in angle brackets."""
    return PATTERN.fullmatch(word) is not None


def is_speaker(name: str) -> bool:
    """Whether a name can be a speaker's: up to 80 printable characters, without those of mixtures, "A:0.7,B:0.3"."""
    return 0 < len(name) <= _LONGEST_NAME and name.isprintable() and name == name.strip() and not set(":,") & set(name)


def find_placeholders(text: str) -> list[str]:
    """The placeholders of a normalized text, in order."""
    return PATTERN.findall(text)


def split_placeholders(text: str) -> list[str]:
    """A normalized text as its placeholders and what is between them, without what is empty."""
    return [part.strip() for part in re.split(f"({PATTERN.pattern})", text) if part.strip()]
