"""Pronunciations as people write them, in IPA, to the alphabet of the English symbols.

misaki has one letter for each diphthong and affricate and puts the stress mark before the vowel; IPA writes two letters
and puts it before the syllable. Both are understood, and mixed: "həˈloʊ", "həlˈoʊ" and "həlˈO" are the same.
"""

import re
import unicodedata

from audiodiff.errors import UserError
from audiodiff.text.symbols import describe

_SHARED = {
    "t͡ʃ": "ʧ", "tʃ": "ʧ", "d͡ʒ": "ʤ", "dʒ": "ʤ", "eɪ": "A", "aɪ": "I", "aʊ": "W", "ɔɪ": "Y",
    "g": "ɡ", "r": "ɹ", "ɻ": "ɹ", "ʀ": "ɹ", "ɫ": "l", "ɬ": "l", "ʍ": "w", "ʔ": "t", "x": "k", "ɱ": "m", "e": "ɛ",
    "o": "ɔ", "ɝ": "ɜɹ", "ɚ": "əɹ", "'": "ˈ", "ʰ": "", "/": "", "‿": "", "\u0361": "", "\u0329": "",
}  # fmt: skip
# US vowels have no length, and no open front a or rounded open ɒ.
_US = {"oʊ": "O", "əʊ": "O", "ɾ": "T", "ː": "", "ɒ": "ɑ", "a": "æ", "ɨ": "ᵻ", "Q": "O"}
_GB = {"oʊ": "Q", "əʊ": "Q", "ɾ": "t", "æ": "a", "ɨ": "ɪ", "ᵻ": "ɪ", "O": "Q", "T": "t"}
_VOWELS = "AIOQWYaiuæɑɐɒɔəɛɜɪʊʌᵊᵻ"
_SOUNDS = {
    "en-us": "AIOWYTbdfhijklmnpstuvwzæðŋɑɐɔəɛɜɡɪɹʃʊʌʒʤʧθᵊᵻ",
    "en-gb": "AIQWYabdfhijklmnpstuvwzðŋɑɐɒɔəɛɜɡɪɹʃʊʌʒʤʧθᵊː",
}
_MARKS = "ˈˌ ;:,.!?—…"
_SYLLABLE_DOT = re.compile(r"(?<=[^\W\d_])\.(?=[ˈˌ]?[^\W\d_])")
_STRESS = re.compile(rf"([ˈˌ])([^{_VOWELS}ˈˌ\s]+)(?=[{_VOWELS}])")


def parse_pronunciation(written: str, language: str = "en-us") -> str:
    """Phonemes of a pronunciation in IPA or in misaki's letters.

    Args:
        written: such as "həˈloʊ"; spaces between words, slashes around it are ignored.
        language: "en-us" or "en-gb".

    Raises:
        UserError: symbols that are no sounds of English; names them. Or nothing is left.
    """
    changes = _SHARED | (_GB if language == "en-gb" else _US)
    phonemes = _SYLLABLE_DOT.sub("", unicodedata.normalize("NFC", written))
    for symbols in sorted(changes, key=len, reverse=True):
        phonemes = phonemes.replace(symbols, changes[symbols])
    phonemes = " ".join(_STRESS.sub(r"\2\1", phonemes).split())
    sounds = _SOUNDS[language]
    unknown = [symbol for symbol in dict.fromkeys(phonemes) if symbol not in sounds + _MARKS]
    if unknown:
        problem = f"has {', '.join(map(describe, unknown))}, no sound of {language}"
        raise UserError(f"pronunciation {written[:40]!r}", problem, f"write IPA, such as həˈloʊ; known: {sounds}")
    if not any(symbol in sounds for symbol in phonemes):
        raise UserError(f"pronunciation {written[:40]!r}", "has no sound", "write IPA, such as həˈloʊ")
    return phonemes
