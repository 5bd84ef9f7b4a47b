"""Alignment of a transcript with its text: which words were skipped, repeated, inserted or changed.

The alignment is one with the fewest word insertions, deletions and substitutions (Levenshtein distance, by dynamic
programming with a backtrace; among equally short ones, matches and substitutions are taken before deletions, and these
before insertions). A word of the text without a counterpart is skipped. A word of the transcript without a counterpart
is repeated if it is the word before or after it in the transcript; otherwise it is inserted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WordErrors:
    """Differences of a transcript from its text.

    Attributes:
        skipped: words of the text that the transcript lacks.
        repeated: words that the transcript has again.
        inserted: other additional words.
        changed: (word of the text, word of the transcript).
    """

    skipped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    inserted: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        """Number of errors: the Levenshtein distance."""
        return len(self.skipped) + len(self.repeated) + len(self.inserted) + len(self.changed)


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Pairs (index in `reference`, index in `hypothesis`) in order; None where a word has no counterpart."""
    cost = np.zeros((len(reference) + 1, len(hypothesis) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(reference) + 1), np.arange(len(hypothesis) + 1)
    for i, word in enumerate(reference, 1):
        for j, other in enumerate(hypothesis, 1):
            cost[i, j] = min(cost[i - 1, j - 1] + (word != other), cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Skipped, repeated, inserted and changed words of `hypothesis`, compared with `reference`."""
    skipped, repeated, inserted, changed = [], [], [], []
    for i, j in align(reference, hypothesis):
        if j is None:
            assert i is not None  # a pair has at least one index
            skipped.append(reference[i])
        elif i is None:
            again = hypothesis[j] in (*hypothesis[max(j - 1, 0) : j], *hypothesis[j + 1 : j + 2])
            (repeated if again else inserted).append(hypothesis[j])
        elif reference[i] != hypothesis[j]:
            changed.append((reference[i], hypothesis[j]))
    return WordErrors(tuple(skipped), tuple(repeated), tuple(inserted), tuple(changed))
