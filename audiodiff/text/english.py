"""English: hibari-tts' grapheme-to-phoneme rules behind our normalization, markup and lexicon.

hibari (https://github.com/MMWilliams/hibari, Apache-2.0) ports misaki's lexicons and context rules, with a
part-of-speech tagger for homographs ("I read it", "to read") and a small net for unknown words. Numbers, dates, units
and addresses become words first (`normalization`), so that hibari sees words only.

Words with pronunciations of their own, from a lexicon or from markup, stand in the text as made-up words while it is
normalized and tagged, so that their neighbors are read in context ("the" before a vowel), and get their phonemes
before hibari's rules run.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from audiodiff.errors import UserError
from audiodiff.extras import load_module
from audiodiff.text.characters import clean, name_characters
from audiodiff.text.front_end import PUNCTUATION, FrontEnd, Pause, Utterance, Word
from audiodiff.text.lexicon import WORD, Lexicon, plural
from audiodiff.text.markup import split_pauses, without_markup
from audiodiff.text.normalization import normalize_traced
from audiodiff.text.notation import parse_pronunciation
from audiodiff.text.segmentation import split_clauses, split_sentences
from audiodiff.text.symbols import ENGLISH, SymbolTable
from audiodiff.text.traced import TracedText
from audiodiff.text.written_words import TokenSpans, written_words

_MARKED = re.compile(rf"\[\[(?P<phonemes>[^\[\]]*)\]\](?P<ending>['’]?s\b)?|{WORD.pattern}")
_PHONEMES = re.compile(r"\[\[([^\[\]]*)\]\]")
_SPOKEN = re.compile(r"\w|[&@%+=#$£€½¼¾]|\[\[")
# What hibari's net for unknown words emits outside of the alphabet.
_REPAIRS = str.maketrans({"ʀ": "ɹ"})


@cache
def _rules(british: bool) -> Any:
    """hibari's rules, loaded once per process: half a second."""
    return load_module("hibari.g2p").G2P(british=british)


class English(FrontEnd):
    """English text to misaki's phonemes.

    Args:
        language: "en-us" or "en-gb".
        lexicon: pronunciations that go before hibari's.
    """

    symbols: SymbolTable = ENGLISH

    def __init__(self, language: str = "en-us", lexicon: Lexicon | None = None):
        self.language, self.lexicon = language, lexicon

    def sentences(self, text: str) -> Iterator[str]:
        """The sentences of a text; see `FrontEnd.sentences`."""
        found = False
        self._check_markup(text)  # before characters of phonemes that are not closed are reported
        cleaned = self._clean(text)
        for sentence in split_sentences(cleaned, _is_spoken):
            found = True
            yield sentence
        if not found:
            raise self._silent(text)

    def clauses(self, sentence: str, limit: int = 200) -> list[str]:
        """A sentence in parts; see `FrontEnd.clauses`."""
        parts: list[str] = []
        for part in split_clauses(sentence, limit):
            if parts and not (_is_spoken(part) and _is_spoken(parts[-1])):
                parts[-1] += f" {part}"
            else:
                parts.append(part)
        return parts

    def phonemize(self, sentence: str) -> Utterance:
        """Phonemes of a sentence; see `FrontEnd.phonemize`."""
        text = self._clean(sentence)
        phonemes, words, pauses = "", [], []
        for part in split_pauses(text):
            if isinstance(part, float):
                phonemes += "" if not phonemes or phonemes.endswith(" ") else " "
                pauses.append(Pause(len(phonemes), part))
                continue
            spoken, found = self._speak(part)
            if spoken:
                phonemes += " " if phonemes and not phonemes.endswith(" ") else ""
                words += [
                    replace(word, start=word.start + len(phonemes), end=word.end + len(phonemes)) for word in found
                ]
                phonemes += spoken
        if not words:
            raise self._silent(sentence)
        length = len(phonemes.rstrip())
        pauses = [Pause(min(pause.position, length), pause.seconds) for pause in pauses]
        return Utterance(sentence, phonemes.rstrip(), tuple(words), tuple(pauses))

    def _check_markup(self, text: str) -> None:
        """Find bad markup before the first sentence is spoken, rather than after an hour of a book."""
        for part in split_pauses(text):
            for phonemes in _PHONEMES.findall(part) if isinstance(part, str) else ():
                parse_pronunciation(phonemes, self.language)

    def _clean(self, text: str) -> str:
        cleaned, unknown = clean(text)
        if unknown and _is_spoken(cleaned):
            message = f"text: nobody pronounces {name_characters(unknown)}; left out"
            warnings.warn(message, stacklevel=3)
        return cleaned

    def _silent(self, text: str) -> UserError:
        if not text.strip():
            return UserError("text", "is empty", "write something to say")
        fix = "write words in Latin letters, or phonemes: [[həlˈoʊ]]"
        return UserError(f"text {text.strip()[:30]!r}", f"has nothing that {self.language} pronounces", fix)

    def _speak(self, text: str) -> tuple[str, list[Word]]:
        """Phonemes and words of a text without pauses."""
        marked, own = self._mark(text)
        normalized = normalize_traced(marked)
        rules = _rules(self.language == "en-gb")
        tokens, spans = rules.tokenize(normalized.text), TokenSpans(normalized)
        for token in tokens:
            name = token.text
            if name in own:
                token.text, token.phonemes = own[name]
                token.rating = 5
            spans.add(name, token.text)
        phonemes, words, space = "", [], False
        for token in rules.phonemize_tokens(tokens):
            span = spans.next(token.text)
            raw = (token.phonemes or "").translate(_REPAIRS)
            spoken = "".join(symbol for symbol in raw if symbol in self.symbols.symbols).strip()
            if spoken and space and phonemes:
                phonemes += " "
            space = bool(token.whitespace) or (space and not spoken)
            sounds = spoken.strip(PUNCTUATION)
            if sounds:
                start = len(phonemes) + spoken.index(sounds)
                name = token.text.strip(PUNCTUATION) or token.text
                words.append((Word(name, sounds, start, start + len(sounds)), span))
            phonemes += spoken
        return phonemes, written_words(words, text, phonemes)

    def _mark(self, text: str) -> tuple[TracedText, dict[str, tuple[str, str]]]:
        """The text with a made-up word for each word that has phonemes of its own, and these by made-up word."""
        own: dict[str, tuple[str, str]] = {}
        stem = "zqx"
        while stem in text.lower():
            stem += "q"

        def made_up_word(found: re.Match) -> str:
            if found["phonemes"] is not None:
                phonemes = parse_pronunciation(found["phonemes"], self.language)
                phonemes = plural(phonemes) if found["ending"] else phonemes
            else:
                listed = self.lexicon.find(found[0]) if self.lexicon else None
                if listed is None:
                    return found[0]
                phonemes = listed
            if self.language == "en-gb":
                phonemes = phonemes.replace("ᵻ", "ɪ")  # of plurals
            name = stem + "".join(chr(ord("a") + int(digit)) for digit in str(len(own)))
            name = name.capitalize() if found[0][0].isupper() else name
            own[name] = (found[0].replace("[[", "").replace("]]", ""), phonemes)
            return name

        return TracedText.of(text).sub(_MARKED, made_up_word), own


def _is_spoken(text: str) -> bool:
    return bool(_SPOKEN.search(re.sub(r"_", " ", text if "[[" in text else without_markup(text))))
