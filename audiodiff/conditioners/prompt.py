"""A text prompt: a description of the sound.

Captions become tokens for cross-attention, and their mean a global embedding. Both start from frozen static embeddings
(`text.static_embedding`), in which words of similar meaning are close to each other, so that a model understands words
that its few thousand captions do not have. What is learned is small: a transformer over the tokens
(`nn.prompt_encoder`) and a perceptron for the mean.

The mean of the static embeddings is the sentence vector because nothing was gained by a larger one: of 50 captions of
sounds, each finds its paraphrase among all in 73 % of cases, and in 72 % with the universal sentence encoder, whose
weights are another 32 MB (recall at 5: 89 and 98 %).

An empty prompt is unconditional: it has no valid token, and its embedding is zero. Dropout in training replaces
captions by it.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiodiff.conditioners.conditioner import Conditioner, Crop, RandomRows
from audiodiff.conditioners.registry import OPTIONS
from audiodiff.errors import UserError
from audiodiff.nn.attention import check_heads
from audiodiff.nn.condition import Condition
from audiodiff.nn.prompt_encoder import PromptEncoder
from audiodiff.options import Option
from audiodiff.ranges import NonNegative, Positive
from audiodiff.text.prompt import check_length
from audiodiff.text.static_embedding import SOURCES, StaticEmbedding, content_words, load_embedding, normalize

_VECTOR = 256  # width of the vectors of all `SOURCES`
_SHOWN = 3  # unknown words of a warning


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

    Raises:
        ValueError: the heads do not divide the channels, or a word is not valid Unicode.
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
    ):
        super().__init__()
        self.token_channels, self.embedding, self.layers = token_channels, embedding, layers
        self.heads, self.max_tokens, self.source = check_heads(token_channels, heads), max_tokens, source
        self._digest, self.words = digest, tuple(words)
        "".join(words).encode()  # a ValueError where it is not valid Unicode
        self.encoder = PromptEncoder(_VECTOR, token_channels, layers, heads, max_tokens)
        # Without bias, so that zeros stay zeros, and zero at first: the network starts as it is without prompts.
        self.sentence = nn.Sequential(
            nn.Linear(_VECTOR, embedding, bias=False), nn.SiLU(), nn.Linear(embedding, embedding, bias=False)
        )
        nn.init.zeros_(self.sentence[-1].weight)  # type: ignore[arg-type]

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
        """Replace texts (B,) by the empty one at random."""
        dropped = unconditional | (random.uniform(len(values)) < rate)
        return ["" if empty else text for text, empty in zip(values, dropped.tolist(), strict=True)]

    def forward(self, batch: Mapping[str, Any]) -> Condition:
        """Embed `prompt`, B texts."""
        if "prompt" not in batch:
            return Condition()
        texts, weight = batch["prompt"], self.encoder.positions
        vectors = np.zeros((len(texts), self.max_tokens, _VECTOR), np.float32)
        mask = torch.zeros(len(texts), self.max_tokens, dtype=torch.bool)
        means = np.zeros((len(texts), _VECTOR), np.float32)
        for row, text in enumerate(texts):
            if text:
                found = self.table.vectors(text, self.max_tokens)
                vectors[row, : len(found)], means[row] = found, self.table.mean(text)
                mask[row, : len(found)] = True
        mask = mask.to(weight.device)
        tokens = self.encoder(torch.from_numpy(vectors).to(weight), mask)
        return Condition(
            tokens=tokens.masked_fill(~mask[..., None], 0),
            token_mask=mask,
            global_embedding=self.sentence(torch.from_numpy(means).to(weight)),
        )

    def _warn_of_length(self, text: str) -> None:
        ids, ends = self.table.encode(text)
        if len(ids) > self.max_tokens:
            rest = text[ends[self.max_tokens - 1] :].strip()
            problem = f"only its first {self.max_tokens} tokens are read word by word, up to {_quote(text, rest)}"
            warnings.warn(f"prompt of {len(text)} characters: {problem}", stacklevel=2)

    def _warn_of_unknown_words(self, text: str) -> None:
        unknown = [word for word in content_words([text]) if self.words and not _known(word, self.words)]
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
