"""Sentences to read aloud: natural English prose from free sources, fetched as Debian packages.

Example sentences of WordNet 3.0 (Princeton's permissive license), the literary and everyday files of `fortunes` (none
of the offensive ones, which are a package of their own), and the Jargon File (public domain), whose sentences are long.
`accept` alone decides what is left in: plain prose of 2 to 30 words, in letters, digits and ordinary punctuation; no
words in capitals; no duplicates; no slurs, no obscenity.
The order is that of a hash of the sentence, so that every prefix mixes the sources, and a sentence's place among the
others stays when packages change.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from audiodiff.data.corpora import debian

FEWEST_WORDS, MOST_WORDS = 2, 30
MOST_LETTERS = 170  # about 12 seconds
_FORM = re.compile(r"[A-Z](?:[A-Za-z0-9 ,;:'$%-]|\.(?=\d))*[A-Za-z0-9'][.!?]")
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
_OFFENSIVE = re.compile(
    r"\b(nigg|fuck|shit|cunt|bitch|whore|rape|raping|rapist|fag|bastard|slut|cock|penis|vagina|sex|porn|damn|kike|jew|"
    r"negro|nazi|hitler|chink|gook|spic|wop|dyke|tranny|retard|tits|boob|piss|crap|arse|ass|asshole|hooker|prostitut|"
    r"orgasm|erotic|masturbat|incest|molest|lynch|slave|savage|squaw|gyp|cripple|suicid)(s|ed|es|y|ing|er|ers|ish|ual)?\b"
    r"|\b(nigg|fuck|shit|cunt|bitch|whore|porn|masturbat|prostitut|sex|slut|nazi|jew)\w*",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r'"([^"]*)"')
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"])")
_WORDNET = ("noun", "verb", "adj", "adv")
# By package: those of prose that is fit to be read to anybody.
_FORTUNES = {
    "fortunes-min": ("fortunes", "literature"),
    "fortunes": (
        *("education", "food", "humorists", "kids", "law", "love", "magic", "medicine", "miscellaneous", "news"),
        *("people", "pets", "platitudes", "politics", "science", "sports", "tao", "wisdom", "work"),
    ),
}


@dataclass(frozen=True)
class Source:
    """A package with its version, and the license that it states."""

    name: str
    license: str


@dataclass(frozen=True)
class Sentences:
    """Sentences in a fixed order, and where they come from."""

    texts: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def credit(self) -> str:
        """Sources and licenses, in one line."""
        return "; ".join(f"texts of {source.name} ({source.license})" for source in self.sources)


def packaged() -> list[str]:
    """The hundred sentences that come with this package, in the order of their file."""
    return (resources.files("audiodiff.data.corpora") / "sentences.txt").read_text(encoding="utf-8").splitlines()


def fetch(downloads: Path) -> Sentences:
    """Fetch the packages and read their sentences.

    Args:
        downloads: folder for packages; those that it holds are not fetched again.

    Raises:
        UserError: they cannot be fetched.
    """
    roots = {package: debian.fetch(package, downloads) for package in ("wordnet-base", "jargon-text", *_FORTUNES)}
    candidates = list(wordnet_examples(roots["wordnet-base"] / "usr/share/wordnet"))
    jargon = roots["jargon-text"] / "usr/share/doc/jargon-text/jargon.txt.gz"
    with gzip.open(jargon, "rt", encoding="utf-8", errors="replace") as file:
        candidates += paragraphs(file.read())
    for package, names in _FORTUNES.items():
        for path in (roots[package] / "usr/share/games/fortunes" / name for name in names):
            if path.exists():
                candidates += fortunes(path.read_text(encoding="utf-8", errors="replace"))
    sources = [
        Source(f"Debian {package} {debian.version(root, package)}", _license(root, package))
        for package, root in roots.items()
    ]
    return Sentences(tuple(select(candidates)), tuple(sources))


def _license(root: Path, package: str) -> str:
    # Its copyright file names the GPL for the packaging alone.
    return "public domain" if package == "jargon-text" else debian.license_of(root, package)


def wordnet_examples(folder: Path) -> Iterator[str]:
    """The quoted examples of data.noun, data.verb, ...: those of four words and more, as sentences."""
    for name in _WORDNET:
        for line in (folder / f"data.{name}").read_text(encoding="latin-1").split("\n"):
            for example in _EXAMPLE.findall(line.partition("|")[2]):
                if len(example.split()) >= 4:
                    yield example if example.endswith((".", "!", "?")) else f"{example}."


def fortunes(text: str) -> Iterator[str]:
    """The sentences of a file of fortunes, without who said them; verse and dialog are left out."""
    for fortune in text.split("\n%\n"):
        prose = re.split(r"\n\s*-- ", fortune)[0]
        if any(line.startswith(("  ", "\t")) for line in prose.split("\n")):
            continue
        for sentence in _END.split(" ".join(prose.split())):
            if sentence.endswith((".", "!", "?")) and len(sentence.split()) >= 3:
                yield sentence.strip('" ')


def paragraphs(text: str) -> Iterator[str]:
    """The sentences of eight words and more in paragraphs that blank lines separate."""
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _END.split(" ".join(paragraph.split())):
            if sentence[:1].isupper() and sentence.endswith((".", "!", "?")) and len(sentence.split()) >= 8:
                yield sentence


def accept(sentence: str) -> bool:
    """Whether a sentence is plain prose that anybody can be asked to read."""
    words = len(sentence.split())
    return (
        FEWEST_WORDS <= words <= MOST_WORDS
        and len(sentence) <= MOST_LETTERS
        and _FORM.fullmatch(sentence) is not None
        and "--" not in sentence
        and " -" not in sentence
        and not _CAPITALS.search(sentence)
        and not _OFFENSIVE.search(sentence)
    )


def select(candidates: list[str]) -> list[str]:
    """The accepted sentences, each once (compared by letters and digits alone), in the order of their hashes."""
    found: dict[str, str] = {}
    for candidate in candidates:
        sentence = " ".join(candidate.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
        sentence = sentence[:1].upper() + sentence[1:]
        if accept(sentence):
            found.setdefault(re.sub(r"\W", "", sentence.lower()), sentence)
    return sorted(found.values(), key=lambda sentence: hashlib.sha256(sentence.encode()).digest())
