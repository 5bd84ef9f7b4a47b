"""Front ends: from text of a language to phonemes, with the span of every written word.

A front end cuts a text into sentences and long sentences into clauses, lazily, so that a book streams, and turns each
into one `Utterance`. Two kinds of markup are part of a text: `[[həlˈoʊ]]` is pronounced as written, and `[pause 0.5]`
is half a second of silence.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiodiff.errors import UserError, did_you_mean
from audiodiff.text.segmentation import split_clauses
from audiodiff.text.symbols import ENGLISH, SymbolTable

if TYPE_CHECKING:
    from audiodiff.text.lexicon import Lexicon

PUNCTUATION = ' ;:,.!?—…"()“”'
_WORD = re.compile(f"[^{re.escape(PUNCTUATION)}]+")


@dataclass(frozen=True)
class Word:
    """A word and its phonemes: `utterance.phonemes[start:end]`, without punctuation around it.

    Args:
        text: as written, such as "$5"; characters that nobody pronounces are left out.
        phonemes: of all that is spoken for it.
        start, end: its place.
        spoken: the words that it is read as, "five dollars", where it is not read as written.
    """

    text: str
    phonemes: str
    start: int
    end: int
    spoken: str = ""


@dataclass(frozen=True)
class Pause:
    """Silence that a text asks for, before the symbol at `position`.

    Args:
        position: 0 before the first symbol, `len(phonemes)` after the last. With a boundary at both ends of the
            sequence, as models read it, entry `position` precedes the silence; at the end it is the last boundary.
        seconds: how long.
    """

    position: int
    seconds: float


@dataclass(frozen=True)
class Utterance:
    """What is spoken in one go.

    Args:
        text: as written.
        phonemes: one character per symbol of the front end's table.
        words: in order, with their spans.
        pauses: that the text asks for, in order.
    """

    text: str
    phonemes: str
    words: tuple[Word, ...]
    pauses: tuple[Pause, ...] = ()

    @classmethod
    def from_phonemes(cls, phonemes: str, symbols: SymbolTable = ENGLISH) -> "Utterance":
        """An utterance that is given as phonemes; spaces and punctuation separate its words.

        Raises:
            UserError: a symbol is unknown, or there is nothing to pronounce.
        """
        phonemes = " ".join(phonemes.split())
        symbols.encode(phonemes)
        utterance = cls._of_phonemes(phonemes)
        if not utterance.words:
            raise UserError(f"phonemes {phonemes[:30]!r}", "hold nothing to pronounce", "write sounds, such as həlˈO")
        return utterance

    def split(self, limit: int) -> list["Utterance"]:
        """An utterance that was given as phonemes in parts of at most `limit` symbols, cut where a text is."""
        parts = map(self._of_phonemes, split_clauses(self.phonemes, limit))
        return [part for part in parts if part.words]

    @classmethod
    def _of_phonemes(cls, phonemes: str) -> "Utterance":
        words = tuple(Word(found[0], found[0], *found.span()) for found in _WORD.finditer(phonemes))
        return cls(phonemes, phonemes, words)


class FrontEnd(ABC):
    """Text of one language to phonemes.

    Attributes:
        language: tag such as "en-us".
        symbols: alphabet of the phonemes.
    """

    language: str
    symbols: SymbolTable

    @abstractmethod
    def sentences(self, text: str) -> Iterator[str]:
        """The sentences of a text, one by one; those without anything to pronounce are left out.

        The last sentence of a paragraph ends with `segmentation.PARAGRAPH`, where another follows.

        Characters that nobody pronounces are removed, with one warning for the whole text.

        Raises:
            UserError: the text has nothing to pronounce, or, before the first sentence, bad markup anywhere.
        """

    @abstractmethod
    def clauses(self, sentence: str, limit: int = 200) -> list[str]:
        """A sentence in parts of at most `limit` characters, cut at clause punctuation where there is some."""

    @abstractmethod
    def phonemize(self, sentence: str) -> Utterance:
        """Phonemes of a sentence.

        Raises:
            UserError: it has nothing to pronounce, or bad markup.
        """


def front_end(language: str = "en-us", lexicon: "Lexicon | None" = None) -> FrontEnd:
    """The front end of a language.

    Args:
        language: "en-us", "en-gb", or "ru" (which reads phonemes only).
        lexicon: pronunciations that go before the language's own.

    Raises:
        UserError: there is no front end for the language; or its package is not installed.
    """
    # Each is imported when it is used: the English one needs the extra [speech].
    from audiodiff.text.english import English
    from audiodiff.text.russian import Russian

    languages: dict[str, Callable[[], FrontEnd]] = {
        "en-us": lambda: English("en-us", lexicon),
        "en-gb": lambda: English("en-gb", lexicon),
        "ru": lambda: Russian(lexicon),
    }
    if language not in languages:
        fix = did_you_mean(language, languages, f"known: {', '.join(languages)}")
        raise UserError(f"language {language!r}", "has no front end", fix)
    return languages[language]()
