"""A text prompt: a description of the sound.

Captions become tokens for cross-attention, and their mean a global embedding. Both start from frozen static embeddings
(`text.static_embedding`), in which words of similar meaning are close to each other, so that a model understands words
that its few thousand captions do not have. What is learned is small: a transformer over the tokens
(`nn.prompt_encoder`) and a perceptron for the mean.

The mean of the static embeddings is the sentence vector because nothing was gained by a larger one: of 50 captions of
sounds, each finds its paraphrase among all in 73 % of cases, and in 72 % with the universal sentence encoder, whose
weights are another 32 MB (recall at 5: 89 and 98 %).

New words, placeholders such as `<my-drum>`, have vectors that are learned (textual inversion, Gal et al. 2022, arXiv
2208.01618): of an adapter (`learn`), or of the model itself. A text around them is tokenized part by part.

An empty prompt is unconditional: it has no valid token, and its embedding is zero. Dropout in training replaces
captions by it.

The sentence vector tells most of a short caption, and a network takes it, added to the noise level, sooner than it
learns to attend: what words say of each other is then not read. Dropout of the sentence vector alone
(`sentence_dropout`), as of a part of a condition (Ho and Salimans 2022, arXiv 2207.12598), leaves the words to tell.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.conditioners.conditioner import Conditioner, Crop, RandomRows
from audiodiff.conditioners.registry import OPTIONS
from audiodiff.errors import UserError
from audiodiff.nn.attention import check_heads
from audiodiff.nn.condition import Condition
from audiodiff.nn.prompt_encoder import PromptEncoder
from audiodiff.options import Option
from audiodiff.ranges import NonNegative, Positive, UnitInterval
from audiodiff.text.placeholder import find_placeholders, is_placeholder, split_placeholders
from audiodiff.text.prompt import check_length
from audiodiff.text.static_embedding import SOURCES, StaticEmbedding, content_words, load_embedding, normalize

_VECTOR = 256  # width of the vectors of all `SOURCES`
_SHOWN = 3  # unknown words of a warning


class WordByWord(str):
    """A text of which only the tokens are read, not the sentence vector."""


class Prompt(Conditioner):
    """Texts (B,) to tokens and a global embedding; "" is unconditional.

    Args:
        token_channels: D of the tokens, the network's.
        embedding: width of the network's global embedding.
        layers: of the transformer over the tokens.
        heads: of its attention; divide `token_channels`.
        max_tokens: tokens that are used of a prompt, about one and a half for each word; all prompts are padded to it.
        source: name of the static embeddings.
        digest: SHA-256 of the static embeddings that the weights were trained with; empty: those that are installed.
        words: that training captions have, for warnings of others; empty: not known.
        placeholders: new words whose vectors are among the weights.
        placeholder_tokens: how many vectors each of them has.
        sentence_dropout: share of training prompts that lose their sentence vector and keep their tokens.

    Raises:
        ValueError: the heads do not divide the channels, a word is not valid Unicode, or a placeholder is none, or
            there twice.
    """

    name = "prompt"
    null = ""  # type: ignore[assignment]

    def __init__(
        self,
        token_channels: Positive = 192,
        embedding: Positive = 128,
        layers: NonNegative = 2,
        heads: Positive = 4,
        max_tokens: Positive = 32,
        source: str = "wordllama-l2-256",
        digest: str = "",
        words: Sequence[str] = (),
        placeholders: Sequence[str] = (),
        placeholder_tokens: Sequence[Positive] = (),
        sentence_dropout: UnitInterval = 0.0,
    ):
        super().__init__()
        self.token_channels, self.embedding, self.layers = token_channels, embedding, layers
        self.heads, self.max_tokens, self.source = check_heads(token_channels, heads), max_tokens, source
        self._digest, self.words, self.sentence_dropout = digest, tuple(words), sentence_dropout
        "".join(words).encode()  # a ValueError where it is not valid Unicode
        self.encoder = PromptEncoder(_VECTOR, token_channels, layers, heads, max_tokens)
        # Without bias, so that zeros stay zeros, and zero at first: the network starts as it is without prompts.
        self.sentence = nn.Sequential(
            nn.Linear(_VECTOR, embedding, bias=False), nn.SiLU(), nn.Linear(embedding, embedding, bias=False)
        )
        nn.init.zeros_(self.sentence[-1].weight)  # type: ignore[arg-type]
        self.vectors = nn.ParameterDict()
        if len(placeholders) != len(placeholder_tokens):
            raise ValueError("placeholders and placeholder_tokens differ in length")
        if max(placeholder_tokens, default=0) > max_tokens:
            raise ValueError(f"placeholder_tokens {max(placeholder_tokens)} is above max_tokens, {max_tokens}")
        for word, count in zip(placeholders, placeholder_tokens, strict=True):
            self.learn(word, torch.empty(count, _VECTOR))

    @property
    def placeholders(self) -> tuple[str, ...]:
        """New words that have vectors."""
        return tuple(self.vectors)

    @property
    def placeholder_tokens(self) -> tuple[int, ...]:
        """How many vectors each of them has."""
        return tuple(map(len, self.vectors.values()))

    def learn(self, word: str, vectors: Tensor) -> nn.Parameter:
        """Give a new word its vectors (N, 256), entries of about unit variance; the parameter that holds them.

        Raises:
            ValueError: the word is no placeholder or has vectors already, or the vectors have another width or are too
                many.
        """
        if not is_placeholder(word):
            raise ValueError(f"{word!r:.40} is not written as small letters, digits, - and _ in < >")
        if word in self.vectors:
            raise ValueError("is known already")
        if vectors.ndim != 2 or vectors.shape[1] != _VECTOR or not 1 <= len(vectors) <= self.max_tokens:
            raise ValueError(f"has vectors {tuple(vectors.shape)}, expected 1 to {self.max_tokens} of {_VECTOR}")
        self.vectors[word] = nn.Parameter(vectors.to(self.encoder.positions), self.encoder.positions.requires_grad)
        return self.vectors[word]

    def initial_vectors(self, text: str, count: int) -> Tensor:
        """Vectors (count, 256) to begin a new word with: those of the tokens of a text that means the like, in turn.

        Raises:
            UserError: the text is empty, or as `table`.
        """
        found = torch.from_numpy(self.table.vectors(normalize(text), count))
        if not len(found):
            raise UserError("adapter.initial", "is empty", "name the kind of sound, such as drum")
        return found[torch.arange(count) % len(found)]

    @property
    def digest(self) -> str:
        """SHA-256 of the static embeddings that the weights belong to."""
        return self._digest or load_embedding(self.source).digest

    @property
    def table(self) -> StaticEmbedding:
        """The static embeddings.

        Raises:
            UserError: they are not installed, or others than the model was trained with.
        """
        table = load_embedding(self.source)
        if self._digest and table.digest != self._digest:
            raise _other_embedding(self.source)
        return table

    def options(self) -> dict[str, Option]:
        """The prompt."""
        return {"prompt": OPTIONS["prompt"]}

    def fit(self, clips: Iterable[Any]) -> None:
        """Record the hash of the static embeddings, and the words of the captions of training clips.

        Raises:
            UserError: no clip has a caption, or the static embeddings are not installed.
        """
        self._digest = self.table.digest
        words = {word for clip in clips for word in clip.caption_words()}
        if not words:
            fix = "prepare data with captions, such as `audiodiff prepare sounds`, or use model=audio"
            raise UserError("model.conditioners.prompt", "no training clip has a caption", fix)
        self.words = tuple(content_words(map(normalize, words)))

    def check_initial(self, trained: Conditioner) -> None:
        """Check that weights were trained on the same static embeddings.

        Raises:
            UserError: they were not, or those are not installed.
        """
        if not isinstance(trained, Prompt) or not trained._digest:
            return
        if trained.source != self.source:
            problem = f"differs from that of init_from, {trained.source}"
            fix = f"set model.conditioners.prompt.source={trained.source}"
            raise UserError(f"text embedding {self.source}", problem, fix)
        if trained.digest != self.digest:
            raise _other_embedding(trained.source)
        self.words = tuple(sorted({*self.words, *trained.words}))

    def parse(self, request: Mapping[str, Any]) -> str:
        """The requested prompt, normalized.

        Warns:
            UserWarning: words that no training caption has, or more tokens than are used.

        Raises:
            UserError: not a text, not valid Unicode, too long, or the static embeddings are missing or others than
                the model was trained with.
        """
        text = normalize(OPTIONS["prompt"].check("prompt", request.get("prompt")) or "")
        check_length(text)
        if text:
            self._warn_of_length(text)
            self._warn_of_unknown_words(text)
        return text

    def from_crop(self, crop: Crop) -> str:
        """A caption of the crop's clip; of several that are right, one at random."""
        return normalize(crop.clip.draw_caption(crop.random))

    def collate(self, values: Sequence[str]) -> list[str]:
        """The texts of a batch."""
        return list(values)

    def drop(self, values: Any, unconditional: Tensor, rate: float, random: RandomRows) -> Any:
        """Replace texts (B,) by the empty one at random, and in training leave some of the others word by word."""
        dropped = unconditional | (random.uniform(len(values)) < rate)
        texts = ["" if empty else text for text, empty in zip(values, dropped.tolist(), strict=True)]
        if not (self.training and self.sentence_dropout):
            return texts
        alone = random.uniform(len(values)) < self.sentence_dropout
        return [WordByWord(text) if one else text for text, one in zip(texts, alone.tolist(), strict=True)]

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `prompt`, B texts, of which those that are `WordByWord` have no global embedding."""
        if "prompt" not in batch:
            return Condition()
        texts, weight = batch["prompt"], self.encoder.positions
        vectors = torch.zeros(len(texts), self.max_tokens, _VECTOR)
        mask = torch.zeros(len(texts), self.max_tokens, dtype=torch.bool)
        means = torch.zeros(len(texts), _VECTOR)
        placeholders: dict[int, tuple[Tensor, Tensor]] = {}
        for row, text in enumerate(texts):
            if any(word in self.vectors for word in find_placeholders(text)):
                placeholders[row] = self._read(text)
                mask[row, : len(placeholders[row][0])] = True
            elif text:
                found = torch.from_numpy(self.table.vectors(text, self.max_tokens))
                vectors[row, : len(found)] = found
                means[row] = torch.from_numpy(self.table.mean(text))
                mask[row, : len(found)] = True
        mask, vectors, means = mask.to(weight.device), vectors.to(weight), means.to(weight)
        for row, (found, mean) in placeholders.items():
            vectors[row, : len(found)], means[row] = found, mean
        alone = torch.tensor([isinstance(text, WordByWord) for text in texts], device=means.device)
        tokens = self.encoder(vectors, mask)
        return Condition(
            tokens=tokens.masked_fill(~mask[..., None], 0),
            token_mask=mask,
            global_embedding=self.sentence(means.masked_fill(alone[:, None], 0)),
        )

    def token_texts(self, text: str) -> list[str]:
        """What the tokens of a normalized text stand for, as many as are read word by word; raises as `table`."""
        found: list[str] = []
        for part in split_placeholders(text):
            if part in self.vectors:
                found += [part] * len(self.vectors[part])
                continue
            _, ends = self.table.encode(part)
            found += [part[start:end].strip() for start, end in pairwise([0, *ends])]
        return found[: self.max_tokens]

    def _read(self, text: str) -> tuple[Tensor, Tensor]:
        """The vectors (N, 256) of a text with placeholders, and the direction of their mean over all tokens."""
        parts = []
        for part in split_placeholders(text):
            known = self.vectors[part] if part in self.vectors else torch.from_numpy(self.table.vectors(part))
            parts.append(known.to(self.encoder.positions))
        vectors = torch.cat(parts)
        mean = vectors.mean(0)
        return vectors[: self.max_tokens], mean / mean.square().mean().sqrt().clamp(min=1e-6)

    def _warn_of_length(self, text: str) -> None:
        if any(word in self.vectors for word in find_placeholders(text)):
            return
        ids, ends = self.table.encode(text)
        if len(ids) > self.max_tokens:
            rest = text[ends[self.max_tokens - 1] :].strip()
            problem = f"only its first {self.max_tokens} tokens are read word by word, up to {_quote(text, rest)}"
            warnings.warn(f"prompt of {len(text)} characters: {problem}", stacklevel=2)

    def _warn_of_unknown_words(self, text: str) -> None:
        placeholders = find_placeholders(text)
        if foreign := [word for word in placeholders if word not in self.vectors]:
            problem = "no adapter has learned it; name the adapter, such as --adapter DIR"
            warnings.warn(f"prompt word {foreign[0]}: {problem}", stacklevel=2)
        plain = " ".join(part for part in split_placeholders(text) if part not in placeholders)
        unknown = [word for word in content_words([plain]) if self.words and not _known(word, self.words)]
        if not unknown:
            return
        hints = [f"{word!r:.40} (nearest: {self.table.nearest(word, self.words)!r})" for word in unknown[:_SHOWN]]
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        problem = "no training caption has them, their meaning is guessed from similar words"
        warnings.warn(f"prompt words {', '.join(hints)}{more}: {problem}", stacklevel=2)


def _other_embedding(name: str) -> UserError:
    """The refusal of static embeddings other than those that a model was trained with."""
    problem = "the installed one is not what this model was trained with (its hash differs)"
    package = f"{SOURCES[name].package}=={SOURCES[name].version}"
    return UserError(f"text embedding {name}", problem, f"install with: pip install {package}")


def _known(word: str, words: Sequence[str]) -> bool:
    """Whether a word, or its singular or plural, is one of `words`."""
    return bool({word, f"{word}s", word.removesuffix("s")} & set(words))


def _quote(text: str, rest: str) -> str:
    """The last words before the rest of a text, as an error shows them."""
    return repr(text.removesuffix(rest).strip()[-40:])
