"""A user's own pronunciations: a CSV file with a word and its phonemes on each line.

    word,phonemes
    gif,ʤɪf
    Nguyen,wɪn
    SQL,ˈsiːkwəl

A word in lower case matches whatever its case in the text; a word with capitals only itself, and goes first. `'s` and a
plural `s` after a word are pronounced as usual. Lines that are empty or start with `#` are skipped.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.text.notation import parse_pronunciation

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_EXAMPLE = "write word,phonemes, such as gif,ʤɪf"


def plural(phonemes: str) -> str:
    """Phonemes with the ending of plurals and possessives."""
    if phonemes[-1] in "ptkfθ":
        return phonemes + "s"
    return phonemes + ("ᵻz" if phonemes[-1] in "szʃʒʧʤ" else "z")


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations by word.

    Args:
        entries: phonemes (of the symbol table) by word.
    """

    entries: dict[str, str]

    @classmethod
    def load(cls, path: Path | str, language: str = "en-us") -> "Lexicon":
        """Read a CSV file.

        Raises:
            UserError: it cannot be read, or a line is wrong: names the file and the line.
        """
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                lines = file.read().splitlines()
        except UnicodeDecodeError as error:
            raise UserError(path, "is not UTF-8 text", "save it as UTF-8") from error
        except OSError as error:
            raise UserError(path, f"cannot be read ({error.strerror})", "pass a CSV file of word,phonemes") from error
        return cls.parse(lines, str(path), language)

    @classmethod
    def parse(cls, lines: list[str], name: str = "lexicon", language: str = "en-us") -> "Lexicon":
        """Lines of word,phonemes.

        Args:
            lines: of a CSV file.
            name: what errors call it.
            language: whose sounds the phonemes are of.

        Raises:
            UserError: a line is wrong: names it.
        """
        entries: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            where = f"{name}, line {number}"
            try:
                row = [cell.strip() for cell in next(csv.reader([line]))]
            except csv.Error as error:
                raise UserError(where, f"{line[:40]!r} is not CSV ({error})", _EXAMPLE) from error
            if row == ["word", "phonemes"] and not entries:
                continue
            if len(row) != 2 or not all(row):
                raise UserError(where, f"{line[:40]!r} is not a word and its phonemes", _EXAMPLE)
            word = row[0].replace("’", "'")
            if not WORD.fullmatch(word):
                raise UserError(where, f"{word[:40]!r} is not one word", "write one word a line, no spaces or symbols")
            try:
                phonemes = parse_pronunciation(row[1], language)
            except UserError as error:
                raise UserError(where, str(error)) from error
            if entries.setdefault(word, phonemes) != phonemes:
                raise UserError(where, f"{word!r} has two pronunciations", "keep one of the lines")
        return cls(entries)

    def find(self, word: str) -> str | None:
        """Phonemes of a word as it stands in a text, or None."""
        word = word.replace("’", "'")
        for ending in ("", "'s", "s"):
            stem = word.removesuffix(ending)
            found = self.entries.get(stem) or self.entries.get(stem.lower())
            if found and word.endswith(ending):
                return plural(found) if ending else found
        return None
