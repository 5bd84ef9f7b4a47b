"""Weights of clips by which each caption word is drawn about equally often.

A clip's caption has several words, so that the weights w solve sum of w over the clips with a word = the same for all
words, in general only approximately. They are found by iterative proportional fitting (Deming and Stephan, 1940): each
clip is multiplied by the geometric mean over its words of (target / total of the word), repeatedly. A word of few clips
would be drawn from them alone, so that no clip has more than `MOST` times the mean weight, and none is given up: the
least weight is the mean over `MOST`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

MOST = 8.0
_ROUNDS = 60
# Words that say nothing of the sound.
_STOPWORDS = {
    *("a", "an", "and", "at", "by", "for", "from", "in", "into", "like", "of", "on", "or", "over"),
    *("sound", "the", "through", "to", "under", "with"),
}
_WORD = re.compile(r"[^\W_][\w'#-]*")


def caption_words(caption: str) -> list[str]:
    """The words of a caption that say something of the sound, in small letters, each once."""
    return [word for word in dict.fromkeys(_WORD.findall(caption.lower())) if word not in _STOPWORDS]


def word_counts(captions: Iterable[str]) -> dict[str, int]:
    """In how many captions each word is, most frequent first."""
    counts = Counter(word for caption in captions for word in caption_words(caption))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def caption_weights(captions: Sequence[str], lengths: Sequence[float] | None = None) -> np.ndarray:
    """The weights of clips, (N,) with mean 1.

    Args:
        captions: of the clips; the weight of those without one follows from their lengths alone.
        lengths: how often a clip is drawn without balance, such as its number of crops; None: once.
    """
    start = np.ones(len(captions)) if lengths is None else np.asarray(lengths, dtype=np.float64)
    start = start / start.mean()
    places: dict[str, int] = {}
    pairs = [
        (clip, places.setdefault(word, len(places)))
        for clip, caption in enumerate(captions)
        for word in caption_words(caption)
    ]
    if not pairs:
        return start
    clips, words = np.array(pairs).T
    counts = np.bincount(clips, minlength=len(captions))
    weights = start.copy()
    for _ in range(_ROUNDS):
        totals = np.bincount(words, weights[clips], minlength=len(places))
        steps = np.bincount(clips, np.log(totals.mean() / totals[words]), minlength=len(captions))
        weights = _bounded(weights * np.exp(steps / np.maximum(counts, 1)))
    return weights


def _bounded(weights: np.ndarray) -> np.ndarray:
    """Weights of mean 1, between 1 / `MOST` and `MOST`, in the proportions of these where they are within."""
    for _ in range(_ROUNDS):
        weights = np.clip(weights / weights.mean(), 1 / MOST, MOST)
        if abs(weights.mean() - 1) < 1e-9:
            break
    return weights / weights.mean()
