"""Retrieval: how well queries find what belongs to them, from similarities to all candidates.

A query may have several right candidates: synonymous captions, or recordings of one caption. Recall at k is the share
of queries with a right one among the k most similar, the reciprocal rank is 1 / rank of the best right one (mean
reciprocal rank, Voorhees 1999). Of equally similar candidates the wrong ones come first, so that constant similarities
score worst.
"""

import numpy as np


def ranks(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Rank of the best right candidate of each query, from 1.

    Args:
        similarity: (N, M) of queries and candidates, finite.
        relevant: (N, M) bool, at least one in each row.

    Returns:
        (N,) int.

    Raises:
        ValueError: the shapes differ, a similarity is not finite, or a query has no right candidate.
    """
    similarity, relevant = np.asarray(similarity, np.float64), np.asarray(relevant, bool)
    if similarity.ndim != 2 or similarity.shape != relevant.shape:
        raise ValueError(f"similarity has shape {similarity.shape}, relevant {relevant.shape}, expected (N, M)")
    if not np.isfinite(similarity).all() or not relevant.any(1).all():
        raise ValueError("a similarity is not finite, or a query has no right candidate")
    best = np.where(relevant, similarity, -np.inf).max(1, keepdims=True)
    return 1 + ((similarity >= best) & ~relevant).sum(1)


def recall(found: np.ndarray, k: int) -> np.ndarray:
    """Of ranks (N,), 1.0 where they are at most k: their mean is recall at k."""
    return (np.asarray(found) <= k).astype(np.float64)


def reciprocal(found: np.ndarray) -> np.ndarray:
    """Of ranks (N,), their reciprocals: their mean is the mean reciprocal rank."""
    return 1 / np.asarray(found, np.float64)


def chance(relevant: np.ndarray) -> float:
    """Expected recall at 1 of similarities at random: mean share of right candidates."""
    return float(np.asarray(relevant, bool).mean())
