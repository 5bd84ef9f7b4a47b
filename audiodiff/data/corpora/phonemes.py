"""Phonemes of a text, one character a symbol."""

from functools import cache
from typing import Any

from audiodiff.extras import load_module

LANGUAGES = ("en-us", "en-gb")


@cache
def _front_end(language: str) -> Any:
    return load_module("hibari.g2p").G2P(british=language == "en-gb")


def phonemes_of(text: str, language: str) -> str:
    """The phonemes of a text; "" if the language has no front end, or nothing in the text is pronounced.

    Raises:
        UserError: the front end is not installed.
    """
    if language not in LANGUAGES or not text:
        return ""
    return _front_end(language)(text).strip()
