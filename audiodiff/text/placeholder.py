"""Placeholders: new words of prompts in angle brackets, such as `<my-drum>`, which training gives a meaning."""

import re

PATTERN = re.compile(r"<[a-z0-9][a-z0-9_-]{0,30}>")


def is_placeholder(word: str) -> bool:
    """Whether a word is a placeholder: small letters of ASCII, digits, - and _ in angle brackets."""
    return PATTERN.fullmatch(word) is not None


def find_placeholders(text: str) -> list[str]:
    """The placeholders of a normalized text, in order."""
    return PATTERN.findall(text)


def split_placeholders(text: str) -> list[str]:
    """A normalized text as its placeholders and what is between them, without what is empty."""
    return [part.strip() for part in re.split(f"({PATTERN.pattern})", text) if part.strip()]
