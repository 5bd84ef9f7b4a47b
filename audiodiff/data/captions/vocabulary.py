"""The vocabulary of captions, read from `vocabulary.toml`: words with their spellings and synonyms, and rewrites."""

import hashlib
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("vocabulary.toml")
_SECTIONS = {"nouns": "noun", "adjectives": "adjective", "details": "detail"}


@dataclass(frozen=True)
class Word:
    """A word, or words that belong together.

    Attributes:
        text: as in canonical captions.
        role: one of `caption.ROLES`.
        spellings: in file names, split into small letters; `text` and `synonyms` are spellings as well.
        synonyms: that mean the same.
        is_mass: whether it has no article: mass nouns ("rain") and plurals ("footsteps").
    """

    text: str
    role: str
    spellings: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    is_mass: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """Words, and rewrites of abbreviations.

    Attributes:
        words: by canonical text.
        spelled: the words of each spelling, a tuple of words in small letters.
        rewrites: other words for a tuple of words in names, such as abbreviations.
        packs: rewrites of names of single packs, which go first.
    """

    words: dict[str, Word]
    spelled: dict[tuple[str, ...], Word]
    rewrites: dict[tuple[str, ...], tuple[str, ...]]
    packs: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read tables: `[nouns]`, `[adjectives]`, `[details]`, `[rewrites]`, `[packs.NAME]`.

        A word is `text = {spelled = [...], also = [...], mass = true}`, with synonyms in `also`; a rewrite `from = to`.

        Raises:
            ValueError: two words have the same spelling.
        """
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        words = {
            text: Word(text, role, tuple(entry.get("spelled", ())), tuple(entry.get("also", ())), "mass" in entry)
            for section, role in _SECTIONS.items()
            for text, entry in tables.get(section, {}).items()
        }
        spelled: dict[tuple[str, ...], Word] = {}
        for word in words.values():
            for spelling in dict.fromkeys(map(_key, (word.text, *word.spellings, *word.synonyms))):
                if (other := spelled.setdefault(spelling, word)) is not word:
                    raise ValueError(
                        f"{path.name}: {' '.join(spelling)!r} spells both {other.text!r} and {word.text!r}"
                    )
        packs = {name: _rewrites(table) for name, table in tables.get("packs", {}).items()}
        return cls(words, spelled, _rewrites(tables.get("rewrites", {})), packs)

    def synonyms(self, text: str) -> tuple[str, ...]:
        """Synonyms of a canonical word, () if it has none."""
        return self.words[text].synonyms if text in self.words else ()

    def is_mass(self, text: str) -> bool:
        """Whether a noun has no article."""
        return text in self.words and self.words[text].is_mass


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of this package."""
    return Vocabulary.read(_FILE)


def rules_hash() -> str:
    """Short hash of the vocabulary's file, which changes with any rule."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()[:16]


def _key(words: str) -> tuple[str, ...]:
    """Words as they are split in names: "hi-hat" is two."""
    return tuple(words.lower().replace("-", " ").split())


def _rewrites(table: dict[str, str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {_key(words): _key(other) for words, other in table.items()}
