"""Settings of training, as overrides on a command line, and lexicons of pronunciations."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzzing.mutation import PIECES, mutate_text

from audiodiff import config, schema
from audiodiff.errors import UserError
from audiodiff.text.lexicon import Lexicon

VALUES = (
    "1",
    "-1",
    "0",
    "0.5",
    "1e9",
    "null",
    "true",
    "[1,2]",
    "{a:1}",
    "[]",
    "cosine",
    "${seed}",
    "${nothing}",
    "a,b",
)


def overrides(folder: Path) -> Callable[[Random, Path], None]:
    """Command lines of training: composed, and checked against the constructors' signatures."""
    recipes = list(config.recipes())
    keys = sorted(config._all_keys([]))
    groups = config.groups()

    def case(draw: Random, here: Path) -> None:
        words = [f"+recipe={draw.choice(recipes)}"] if draw.random() < 0.3 else []
        for _ in range(draw.choice((1, 1, 2, 3))):
            key = draw.choice((draw.choice(keys), draw.choice(keys), draw.choice(groups)))
            value = draw.choice((draw.choice(VALUES), draw.choice(VALUES), draw.choice(PIECES)))
            word = f"{draw.choice(('', '', '', '+', '++', '~'))}{key}={value}"
            words.append(mutate_text(word, draw) if draw.random() < 0.2 else word)
        schema.check(config.compose(config.check(words)))

    return case


def lexicons(folder: Path) -> Callable[[Random, Path], None]:
    """Tables of pronunciations."""
    seed = "word,phonemes\nhello,həlˈO\ntomato,təmˈɑtO\nDr.,dˈɑktəɹ\n"

    def case(draw: Random, here: Path) -> None:
        (here / "lexicon.csv").write_bytes(mutate_text(seed, draw).encode(errors="replace"))
        try:
            Lexicon.load(here / "lexicon.csv")
        except UserError as error:
            assert "lexicon.csv" in str(error), str(error)
            raise

    return case
