"""Russian as phonemes: the labels of festvox-ru as one character each.

festvox-ru (Debian, BSD-like license) comes with a label and an end time for every phone of its 620 sentences; the times
lie on a grid of 10 ms, as those of an automatic aligner do. The labels are those of the Festival voice msu_ru_nsh: a
doubled vowel is stressed, a doubled consonant palatalized, and `ae`, `ay`, `ur` are the reduced vowels. Palatalized
consonants become capital letters here, stressed vowels letters of their own, so each label is one symbol and
`from_labels` loses nothing.

There is no front end from Russian spelling: sentences are given as phonemes.
"""

from collections.abc import Iterable, Iterator

from audiodiff.errors import UserError
from audiodiff.text.front_end import FrontEnd, Utterance
from audiodiff.text.segmentation import split_clauses, split_sentences
from audiodiff.text.symbols import SymbolTable

SILENCE = "pau"
LABELS = {
    # stressed and unstressed vowels; ae, ay after soft and hard consonants, ur the reduced u
    "aa": "á", "a": "a", "ae": "ə", "ay": "ʌ", "ee": "é", "e": "e", "ii": "í", "i": "i",
    "oo": "ó", "uu": "ú", "u": "u", "ur": "ʊ", "yy": "ý", "y": "y",
    # plain and palatalized consonants
    "b": "b", "bb": "B", "d": "d", "dd": "D", "f": "f", "ff": "F", "g": "ɡ", "gg": "G", "h": "x", "hh": "X",
    "k": "k", "kk": "K", "l": "l", "ll": "L", "m": "m", "mm": "M", "n": "n", "nn": "N", "p": "p", "pp": "P",
    "r": "r", "rr": "R", "s": "s", "ss": "S", "t": "t", "tt": "T", "v": "v", "vv": "V", "z": "z", "zz": "Z",
    # always hard or always soft
    "c": "ʦ", "ch": "ʧ", "j": "j", "sch": "ɕ", "sh": "ʃ", "zh": "ʒ",
}  # fmt: skip
PUNCTUATION = ' ,.;:!?—…"()'
RUSSIAN = SymbolTable("russian", 1, PUNCTUATION + "".join(LABELS.values()))


def from_labels(labels: Iterable[str]) -> str:
    """Phonemes of festvox-ru's labels, a space for each silence.

    Raises:
        UserError: a label is unknown; names it.
    """
    phonemes = []
    for label in labels:
        if label != SILENCE and label not in LABELS:
            raise UserError(f"phone label {label!r}", "is not one of festvox-ru", f"known: {' '.join(LABELS)}")
        phonemes.append(" " if label == SILENCE else LABELS[label])
    return "".join(phonemes)


class Russian(FrontEnd):
    """Russian as phonemes of `RUSSIAN`; there are no rules from spelling."""

    language = "ru"
    symbols = RUSSIAN

    def __init__(self, lexicon: object = None):
        if lexicon is not None:
            raise UserError("lexicon", "ru is read as phonemes, without a lexicon", "leave --lexicon out")

    def sentences(self, text: str) -> Iterator[str]:
        """The sentences of a phoneme string."""
        found = False
        for sentence in split_sentences(text, _is_spoken):
            found = True
            yield sentence
        if not found:
            raise UserError(f"phonemes {text.strip()[:30]!r}", "hold nothing to pronounce", "write sounds of ru")

    def clauses(self, sentence: str, limit: int = 200) -> list[str]:
        """A sentence in parts; see `FrontEnd.clauses`."""
        return [part for part in split_clauses(sentence, limit) if _is_spoken(part)]

    def phonemize(self, sentence: str) -> Utterance:
        """Check phonemes, and find their words."""
        return Utterance.from_phonemes(sentence, RUSSIAN)


def _is_spoken(text: str) -> bool:
    return any(symbol.isalpha() for symbol in text)
