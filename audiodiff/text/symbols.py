"""Symbol tables: phoneme strings to the ids that networks read.

A phoneme string has one character per symbol: sounds, stress marks, punctuation and spaces alike, so positions in the
string and in the ids agree. The alphabet of English is misaki's (https://github.com/hexgrad/misaki, as read by
Kokoro-82M): diphthongs and affricates are one letter each, A as in "day", I "my", O "go" (British Q), W "now", Y "boy",
T the tap of "city", ʤ and ʧ; `ᵊ` is a short schwa and `ᵻ` the vowel of "roses".

A checkpoint stores the whole table, so symbols that a later version adds do not move the ids of an earlier model.
"""

from dataclasses import dataclass
from typing import ClassVar

from audiodiff.errors import UserError, did_you_mean

PADDING, BOUNDARY = 0, 1


@dataclass(frozen=True)
class SymbolTable:
    """An alphabet of phonemes and its ids: 0 pads batches, 1 marks both ends of a sequence, symbols start at 2.

    Args:
        name: language or alphabet.
        version: raised whenever `symbols` changes.
        symbols: the alphabet, one character per symbol, in the order of the ids.
    """

    name: str
    version: int
    symbols: str

    PADDING: ClassVar[int] = PADDING
    BOUNDARY: ClassVar[int] = BOUNDARY

    def __post_init__(self):
        """Check that symbols are distinct, and index them."""
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise UserError(f"symbol table {self.name}", "symbols must be distinct characters, at least one")
        object.__setattr__(self, "_ids", {symbol: index for index, symbol in enumerate(self.symbols, 2)})

    def __len__(self) -> int:
        """Number of ids, with padding and boundary."""
        return len(self.symbols) + 2

    def unknown(self, phonemes: str) -> list[str]:
        """Characters of a phoneme string that the table lacks, each once, in their order."""
        return [symbol for symbol in dict.fromkeys(phonemes) if symbol not in self.symbols]

    def encode(self, phonemes: str) -> list[int]:
        """Ids of a phoneme string, one per character, without boundaries.

        Raises:
            UserError: a character is not a symbol; names it and its place.
        """
        for place, symbol in enumerate(phonemes, 1):
            if symbol not in self.symbols:
                problem = f"symbol {place}, {describe(symbol)}, is not in the alphabet of {self.name}"
                raise UserError(f"phonemes {phonemes[:60]!r}", problem, f"use the symbols {self.symbols}")
        ids: dict[str, int] = vars(self)["_ids"]
        return [ids[symbol] for symbol in phonemes]

    def decode(self, ids: list[int]) -> str:
        """The phoneme string of ids; padding and boundaries are left out.

        Raises:
            UserError: an id is outside of the table.
        """
        if any(not 0 <= index < len(self) for index in ids):
            raise UserError(f"symbol ids {ids[:20]}", f"must be from 0 to {len(self) - 1}")
        return "".join(self.symbols[index - 2] for index in ids if index >= 2)


def describe(character: str) -> str:
    """A character and its code point, such as 'ß' (U+00DF)."""
    return f"{character!r} (U+{ord(character):04X})"


# Kokoro-82M's whole vocabulary, in its order: everything that hibari and Kokoro read.
ENGLISH = SymbolTable(
    "english",
    1,
    ';:,.!?—…"()“” \u0303ʣʥʦʨᵝꭧAIOQSTWYᵊabcdefhijklmnopqrstuvwxyzɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯɰŋɳɲɴøɸθœɹɾɻʁɽʂʃʈʧʊʋʌɣɤχʎʒʔ'
    "ˈˌːʰʲ↓→↗↘ᵻ",
)


def symbol_table(name: str) -> SymbolTable:
    """The current table of a name.

    Raises:
        UserError: there is none.
    """
    from audiodiff.text.russian import RUSSIAN  # its table is built from the labels that it translates

    tables = {table.name: table for table in (ENGLISH, RUSSIAN)}
    if name not in tables:
        fix = did_you_mean(name, tables, f"known: {', '.join(tables)}")
        raise UserError(f"symbol table {name!r}", "does not exist", fix)
    return tables[name]
