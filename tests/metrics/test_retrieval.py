"""Retrieval: ranks by hand, ties, synonyms, chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.metrics.retrieval import chance, ranks, recall, reciprocal

SIMILARITY = np.array([[0.9, 0.1, 0.5], [0.2, 0.1, 0.3], [0.5, 0.5, 0.5]])


def test_ranks_by_hand():
    found = ranks(SIMILARITY, np.eye(3, dtype=bool))
    assert found.tolist() == [1, 3, 3]  # of equals the wrong ones come first
    assert recall(found, 1).mean() == pytest.approx(1 / 3) and recall(found, 3).mean() == 1
    assert reciprocal(found).mean() == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)


def test_any_right_candidate_counts():
    relevant = np.array([[True, False, False], [False, True, True], [True, True, True]])
    assert ranks(SIMILARITY, relevant).tolist() == [1, 1, 1]
    assert chance(relevant) == pytest.approx(6 / 9)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_random_similarities_find_the_right_one_by_chance(queries, candidates, seed):
    random = np.random.default_rng(seed)
    relevant = random.random((queries, candidates)) < 0.5
    relevant[:, 0] = True
    similarity = random.random((200, queries, candidates))
    found = np.concatenate([ranks(one, relevant) for one in similarity])
    assert found.min() >= 1 and found.max() <= candidates
    assert abs(recall(found, 1).mean() - chance(relevant)) < 5 * 0.5 / (200 * queries) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    ("similarity", "relevant"),
    [
        (np.zeros((2, 3)), np.ones((3, 2))),
        (np.full((1, 2), np.nan), np.ones((1, 2))),
        (np.zeros((1, 2)), np.zeros((1, 2))),
    ],
)
def test_what_cannot_be_ranked(similarity, relevant):
    with pytest.raises(ValueError, match="similarity"):
        ranks(similarity, relevant)
