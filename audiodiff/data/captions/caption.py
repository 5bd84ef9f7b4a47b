"""`Caption`: description of a clip's sound, in one canonical wording, and in others that are drawn at random.

A caption that was composed knows its parts: nouns, the last of which is the head ("car", "horn"), adjectives ("loud"),
details ("on wood", "A4") and the measured character ("short", `character`). Its canonical text is adjectives, nouns,
details: "loud car horn on wood". A drawn wording differs from it in

- detail: adjectives and details are left out at random, nouns never;
- character: a word of it is added at random;
- words: nouns and adjectives are replaced by synonyms (`vocabulary`);
- order and form: "a loud car horn", "car horn, loud", "on wood, loud car horn", "sound of a car horn".

Every wording is true if the canonical one is. A caption of free text, such as a user's, is always worded as it is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from audiodiff.data.captions.vocabulary import vocabulary

ROLES = ("adjective", "noun", "detail")  # in the order of the canonical text
CHARACTER = "character"  # a role that the canonical text leaves out
_ADJECTIVE_SHARE, _DETAIL_SHARE = 0.7, 0.5  # of draws that mention one
_CHARACTER_SHARE = 0.35
_SYNONYM_SHARE = 0.5  # of draws of a word that has synonyms
_VOWEL = re.compile(r"[aeiou]|8|1[18]\b", re.IGNORECASE)  # a word that is spoken with one first: "808", "8-bit"
_PREPOSITIONS = ("at", "by", "from", "in", "into", "like", "of", "on", "over", "through", "to", "under", "with")
# Forms of a drawn wording, and their shares.
_FORMS = {"plain": 0.4, "article": 0.25, "noun first": 0.15, "detail first": 0.1, "sound of": 0.1}


@dataclass(frozen=True)
class Caption:
    """A caption.

    Attributes:
        text: its canonical wording, "" if there is none.
        parts: `ROLE: WORDS`, with roles of `ROLES` in the order of the text, then of `CHARACTER`; () for free text.
    """

    text: str = ""
    parts: tuple[str, ...] = ()

    def validate(self) -> None:
        """Check the parts.

        Raises:
            ValueError: a part is not `ROLE: WORDS`, or there are parts and none is a noun.
        """
        for part in self.parts:
            role, mark, words = part.partition(": ") if isinstance(part, str) else ("", "", "")
            if role not in (*ROLES, CHARACTER) or not mark or not words.strip() or not words.isprintable():
                raise ValueError(f"has {part!r:.60}, not `ROLE: WORDS` with a role of {', '.join((*ROLES, CHARACTER))}")
        if self.parts and not self.of_role("noun"):
            raise ValueError("has no noun")

    def of_role(self, role: str) -> list[str]:
        """The words of all parts of a role, in order."""
        return [words for found, _, words in (part.partition(": ") for part in self.parts) if found == role]

    def draw(self, random: np.random.Generator) -> str:
        """A wording at random: a function of the caption and the generator's state alone."""
        if not self.parts:
            return self.text
        nouns = [_synonym(word, random) for word in self.of_role("noun")]
        shown = [word for word in self.of_role("adjective") if random.random() < _ADJECTIVE_SHARE]
        measured = [word for word in self.of_role(CHARACTER) if random.random() < _CHARACTER_SHARE]
        shown += [word for word in measured if not word.startswith("with ")]
        adjectives = [_synonym(shown[place], random) for place in random.permutation(len(shown))]
        details = [words for words in self.of_role("detail") if random.random() < _DETAIL_SHARE]
        details += [words for words in measured if words.startswith("with ")]
        form = str(random.choice(list(_FORMS), p=list(_FORMS.values())))
        return _worded(form, adjectives, nouns, details, vocabulary().is_mass(self.of_role("noun")[-1]))

    def with_character(self, words: Iterable[str]) -> "Caption":
        """The same caption with a measured character, if it was composed."""
        own = tuple(part for part in self.parts if not part.startswith(f"{CHARACTER}: "))
        return Caption(self.text, own + tuple(f"{CHARACTER}: {word}" for word in words) if own else ())

    def words(self, forms: bool = True) -> set[str]:
        """All words, in small letters, that the canonical text or a drawn wording may have; `forms`: "the" and such."""
        used = [self.text, "the sound of a an" if self.parts and forms else ""]
        for role in (*ROLES, CHARACTER):
            for words in self.of_role(role):
                used += [words, *vocabulary().synonyms(words)]
        return {word.strip(".,;:!?\"'()").lower() for words in used for word in words.split()} - {""}


def compose(nouns: Sequence[str], adjectives: Iterable[str] = (), details: Iterable[str] = ()) -> Caption:
    """The caption of these parts, each mentioned once.

    Args:
        nouns: at least one; the last is the head.
        adjectives: in the order of the text.
        details: phrases that follow, such as "on wood", after a comma unless they begin with a preposition.
    """
    if not nouns:
        raise ValueError("a caption needs a noun")
    nouns, adjectives, details = (list(dict.fromkeys(words)) for words in (nouns, adjectives, details))
    text = _worded("plain", adjectives, nouns, details)
    of_role = zip(ROLES, (adjectives, nouns, details), strict=True)
    return Caption(text, tuple(f"{role}: {words}" for role, found in of_role for words in found))


def _worded(form: str, adjectives: list[str], nouns: list[str], details: list[str], is_mass: bool = False) -> str:
    """A wording in one of `_FORMS`; a mass noun or plural has no article."""
    name = " ".join(nouns)
    phrase = " ".join([*adjectives, name])
    with_article = phrase if is_mass else f"{'an' if _VOWEL.match(phrase) else 'a'} {phrase}"
    if form == "noun first" and adjectives:
        return _join(name, [", ".join(adjectives), *details])
    if form == "detail first" and details:
        return ", ".join([*details, phrase])
    if form == "sound of" and not name.endswith("sound"):
        return _join(f"the sound of {with_article}", details)
    return _join(with_article if form == "article" else phrase, details)


def _join(first: str, rest: Iterable[str]) -> str:
    for words in rest:
        first += f"{' ' if words.split()[0] in _PREPOSITIONS else ', '}{words}"
    return first


def _synonym(word: str, random: np.random.Generator) -> str:
    synonyms = vocabulary().synonyms(word)
    if not synonyms or random.random() >= _SYNONYM_SHARE:
        return word
    return synonyms[int(random.integers(len(synonyms)))]
