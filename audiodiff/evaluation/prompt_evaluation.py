"""Prompt fidelity: whether a clip is what its prompt asks for, by an audio-text embedding.

Clips are generated from captions of held-out recordings, with several seeds and of the recordings' lengths. Each is
compared with all captions of the evaluation, and finds its own or not (`metrics.retrieval`): recall at 1 is the share
whose own caption is the most similar one. Captions are compared in their canonical wording (`data.captions`), so that
synonymous ones are one; "noun" counts any caption of the same noun as right, whatever its adjectives and details.

The figures mean something beside three others: chance; clips of the same model and lengths without a prompt, whose
captions are assigned to them (a length alone says something); and the held-out recordings themselves, which say what
the embedding can tell apart. The embedding must not be the one that guided the clips, whose errors a guided generator
learns to use.

Intervals are over captions, of which each is the mean of its clips.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from audiodiff.audio.io import Audio
from audiodiff.data.captions import Caption
from audiodiff.data.captions.caption import CHARACTER
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.statistics import Interval, bootstrap
from audiodiff.metrics import retrieval
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.text.prompt import is_plain
from audiodiff.text.static_embedding import normalize

CAPTIONS, REPEATS = 60, 4  # clips of each caption, where there are as many captions
RECORDED_SHARE = 2 / 3  # of the captions, as far as there are recordings
MIN_CAPTIONS = 5
REAL, UNPROMPTED = "held-out recordings", "no prompt"
ALL, RECORDED, RENDERED = "all", "recorded", "rendered"


@dataclass(frozen=True)
class PromptedClip:
    """A held-out recording whose caption is a prompt.

    Attributes:
        clip: the recording.
        key: the caption, normalized.
        noun: that the caption is about, with those that modify it: "car horn".
        trained: whether a training clip has the caption, or a longer one of which training draws it.
    """

    clip: Clip
    key: str
    noun: str
    trained: bool

    @property
    def caption(self) -> str:
        """The prompt."""
        return self.clip.caption


@dataclass(frozen=True)
class Fidelity:
    """How well clips find their captions: means over captions with intervals, shares from 0 to 1.

    Attributes:
        clips: number of clips.
        captions: number of captions that they are of.
        recall_at_1, recall_at_5: share of the clips with a right caption among the most similar ones.
        reciprocal_rank: of the first right caption.
        noun_at_1: share of the clips whose most similar caption has the right noun.
        similarity: cosine of clip and caption.
        chance, noun_chance: recall at 1 and share of right nouns of similarities at random.
    """

    clips: int
    captions: int
    recall_at_1: Interval
    recall_at_5: Interval
    reciprocal_rank: Interval
    noun_at_1: Interval
    similarity: Interval
    chance: float
    noun_chance: float


def choose_prompts(manifest: Manifest, splits: Sequence[str], limit: int = CAPTIONS) -> list[PromptedClip]:
    """Choose held-out clips of different captions, by a hash: of recordings twice as many as of rendered instruments.

    Captions that training never has come first, and among them one of each noun before a second one: a soft and a
    hard cowbell tell little of a generator. A smaller limit does not give a subset.

    Raises:
        UserError: fewer than `MIN_CAPTIONS` captions.
    """
    trained = _Trained([clip for clip in manifest.with_splits("train").clips if clip.caption])
    found: dict[str, PromptedClip] = {}
    for clip in sorted(manifest.with_splits(*splits).clips, key=lambda clip: clip_seed(0, clip.id)):
        if clip.caption and is_plain(clip.caption):
            key = normalize(clip.caption)
            found.setdefault(key, PromptedClip(clip, key, _noun(clip), clip in trained))
    if len(found) < MIN_CAPTIONS:
        problem = f"has {len(found)} captions in {' or '.join(splits)}, at least {MIN_CAPTIONS} are needed"
        raise UserError(manifest.root, problem, "prepare more recordings with captions, or choose another --split")
    nouns: Counter[tuple[str, bool]] = Counter()
    places = {}
    for key, one in found.items():  # in the order of the hash
        places[key] = (one.trained, nouns[one.noun, one.trained])
        nouns[one.noun, one.trained] += 1
    preferred = sorted(found.values(), key=lambda one: places[one.key])
    recorded = [one for one in preferred if not one.clip.synthetic]
    rendered = [one for one in preferred if one.clip.synthetic]
    count = max(round(RECORDED_SHARE * limit), limit - len(rendered))
    chosen = recorded[:count]
    return [*chosen, *rendered[: limit - len(chosen)]]


class PromptEvaluation:
    """Clips of a generator and their similarities to captions.

    The sets of clips are iterators, so that no set is held in memory: each clip is embedded as it passes.

    Args:
        generator: a model that takes prompts.
        embedder: scores the clips.
        manifest: with captions, of held-out clips and of those that the generator was trained on.
        settings: of the evaluation; `limit` clips are generated of each set, rounded down to as many of each caption
            (None: `CAPTIONS` times `REPEATS`).

    Attributes:
        prompts: the captions.
        repeats: clips of each caption.

    Raises:
        UserError: as `choose_prompts`.
    """

    def __init__(self, generator: AudioGenerator, embedder: AudioTextEmbedder, manifest: Manifest, settings: Settings):
        self.generator, self.embedder, self.manifest, self.settings = generator, embedder, manifest, settings
        limit = settings.limit or CAPTIONS * REPEATS
        self.prompts = choose_prompts(manifest, settings.splits, min(CAPTIONS, limit))
        self.repeats = max(limit // len(self.prompts), 1)
        with warnings.catch_warnings(action="ignore"):  # of words that only held-out captions have
            self._texts = embedder.embed_text([one.caption for one in self.prompts]).numpy()
        self._embedded: dict[str, list[tuple[int, np.ndarray]]] = {}

    @property
    def count(self) -> int:
        """Generated clips of each set."""
        return self.repeats * len(self.prompts)

    @property
    def embedding(self) -> str:
        """The embedding by its hash."""
        return f"the audio-text embedding {self.embedder.model_hash[:12]}"

    def prompt_of(self, clip: int) -> str:
        """The prompt of a clip by its index in a generated set."""
        return self.prompts[clip // self.repeats].caption

    def generate(self, name: str, **options: Any) -> Iterator[np.ndarray]:
        """Generate clips (C, T) of each prompt, padded to the model's length.

        Args:
            name: of the set.
            options: of `AudioGenerator.generate`; `prompt=None` for clips without a prompt.
        """
        samples, rate = self.generator.model.samples, self.generator.sample_rate
        settings, seeds = self.settings, clip_seeds(self.settings.seed or 0, self.count)
        sampling = {"steps": settings.steps, "sampler": settings.sampler}
        for number, one in enumerate(self.prompts):
            seconds = min(one.clip.seconds, samples / rate)
            chosen = seeds[number * self.repeats : (number + 1) * self.repeats]
            wanted = {"prompt": one.caption, "seconds": seconds} | sampling | options
            yield from self._record(name, number, self._sample(chosen, wanted), samples)

    def _sample(self, seeds: list[int], options: dict[str, Any]) -> torch.Tensor:
        """Clips (B, C, T) of these seeds; NaN where one is not finite, as of too much guidance, which is counted."""
        try:
            with warnings.catch_warnings(action="ignore"):
                return self.generator.generate(clip_seeds=seeds, **options).samples
        except NotFinite:
            if len(seeds) > 1:  # a batch fails as a whole
                alone = [self._sample([seed], options) for seed in seeds]
                return torch.cat(
                    [pad(clip, (0, max(one.shape[-1] for one in alone) - clip.shape[-1])) for clip in alone]
                )
            return torch.full((1, self.generator.model.channels, 1), torch.nan)

    def recordings(self) -> None:
        """Embed the held-out recordings themselves, as the set `REAL`."""
        model, rate = self.generator.model, self.generator.sample_rate
        for number, one in enumerate(self.prompts):
            crop = read_crop(self.manifest, one.clip, rate, 0, model.samples, model.channels)
            for _ in self._record(REAL, number, crop[None], model.samples):
                pass

    def _record(self, name: str, number: int, clips: torch.Tensor, samples: int) -> Iterator[np.ndarray]:
        """Embed clips (B, C, T) of a prompt, padded to (C, samples); silent or infinite ones are like no caption."""
        for clip in clips:
            usable = bool(clip.isfinite().all()) and float(clip.abs().max()) > 0
            audio = Audio(clip, self.generator.sample_rate) if usable else None
            vector = np.zeros(self._texts.shape[1]) if audio is None else self.embedder.embed_audio(audio)[0].numpy()
            self._embedded.setdefault(name, []).append((number, vector))
            yield pad(clip, (0, max(samples - clip.shape[-1], 0))).numpy()

    def fidelity(self) -> dict[str, dict[str, Fidelity]]:
        """Fidelity by set and group of captions (`ALL`, `RECORDED`, `RENDERED`), of the sets that have passed."""
        groups = {
            ALL: [True] * len(self.prompts),
            RECORDED: [not one.clip.synthetic for one in self.prompts],
            RENDERED: [one.clip.synthetic for one in self.prompts],
        }
        found: dict[str, dict[str, Fidelity]] = {}
        for name, rows in self._embedded.items():
            numbers = np.array([number for number, _ in rows])
            similarity = np.stack([vector for _, vector in rows]) @ self._texts.T
            for group, members in groups.items():
                chosen = np.array(members)[numbers]
                if chosen.any() and (group == ALL or not all(members)):
                    found.setdefault(name, {})[group] = self._fidelity(numbers[chosen], similarity[chosen])
        return found

    def _fidelity(self, numbers: np.ndarray, similarity: np.ndarray) -> Fidelity:
        """Of clips (N,) of these prompts, from their similarities to all captions (N, M)."""
        keys, nouns = (np.array([getattr(one, name) for one in self.prompts]) for name in ("key", "noun"))
        relevant, of_noun = (labels[numbers][:, None] == labels for labels in (keys, nouns))
        found = retrieval.ranks(similarity, relevant)

        def over_captions(values: np.ndarray) -> Interval:
            return bootstrap(np.array([values[numbers == number].mean() for number in np.unique(numbers)]))

        return Fidelity(
            clips=len(numbers),
            captions=len(np.unique(numbers)),
            recall_at_1=over_captions(retrieval.recall(found, 1)),
            recall_at_5=over_captions(retrieval.recall(found, 5)),
            reciprocal_rank=over_captions(retrieval.reciprocal(found)),
            noun_at_1=over_captions(retrieval.recall(retrieval.ranks(similarity, of_noun), 1)),
            similarity=over_captions(similarity[np.arange(len(numbers)), numbers]),
            chance=retrieval.chance(relevant),
            noun_chance=retrieval.chance(of_noun),
        )


class _Trained:
    """Captions that training has as they are, or draws: those of a noun with fewer adjectives and details."""

    def __init__(self, clips: Sequence[Clip]):
        self._keys = {normalize(clip.caption) for clip in clips}
        self._words: dict[str, set[frozenset[str]]] = {}
        for clip in clips:
            self._words.setdefault(_noun(clip), set()).add(_modifiers(clip, "adjective", "detail", CHARACTER))

    def __contains__(self, clip: Clip) -> bool:
        words = _modifiers(clip, "adjective", "detail")
        drawn = clip.caption_parts and any(words <= more for more in self._words.get(_noun(clip), ()))
        return normalize(clip.caption) in self._keys or bool(drawn)


def _modifiers(clip: Clip, *roles: str) -> frozenset[str]:
    caption = Caption(clip.caption, clip.caption_parts)
    return frozenset(words for role in roles for words in caption.of_role(role))


def _noun(clip: Clip) -> str:
    """The nouns of a composed caption, a free caption as it is."""
    return " ".join(Caption(clip.caption, clip.caption_parts).of_role("noun")) or normalize(clip.caption)
