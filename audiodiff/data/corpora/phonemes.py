"""Phonemes of a transcript, by the front end of its language (`text.front_end`), one character a symbol."""

from functools import cache

from audiodiff.errors import UserError
from audiodiff.extras import locate
from audiodiff.text.front_end import FrontEnd, front_end

LANGUAGES = ("en-us", "en-gb")  # those that can be read from spelling


@cache
def _front_end(language: str) -> FrontEnd:
    locate("hibari")
    return front_end(language)


def phonemes_of(text: str, language: str) -> str:
    """The phonemes of a text; "" if the language has no front end, or nothing in the text is pronounced.

    Raises:
        UserError: the front end is not installed.
    """
    if language not in LANGUAGES or not text:
        return ""
    reader = _front_end(language)
    try:
        return reader.phonemize(text).phonemes
    except UserError:
        return ""
