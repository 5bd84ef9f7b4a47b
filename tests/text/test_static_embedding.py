"""Static embeddings: similar words are close, and what is installed is known by its hash."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.text.static_embedding import StaticEmbedding, content_words, load_embedding, normalize

TABLE = load_embedding("wordllama-l2-256")


def similarity(one, other):
    return float(TABLE.mean(one) @ TABLE.mean(other)) / TABLE.width


def test_words_of_similar_meaning_are_close():
    for word, near, far in (("kick drum", "bass drum", "bird song"), ("rain", "thunderstorm", "guitar")):
        assert similarity(word, near) > 0.2 > similarity(word, far)
    assert TABLE.nearest("hound", ["guitar", "dog", "rain"]) == "dog"


def test_vectors_have_unit_variance_and_an_empty_text_has_none():
    vectors = TABLE.vectors("a short metallic hit")
    assert vectors.shape == (6, 256) and 0.2 < np.square(vectors).mean() < 2
    assert np.array_equal(TABLE.vectors("a short metallic hit", 2), vectors[:2])
    assert not len(TABLE.vectors("")) and not TABLE.mean("").any()


@given(st.text(max_size=40))
def test_any_text_has_finite_vectors(text):
    text = normalize(text)
    ids, ends = TABLE.encode(text)
    assert len(ids) == len(ends) == len(TABLE.vectors(text)) and np.isfinite(TABLE.mean(text)).all()
    assert normalize(text) == text


def test_words_of_captions():
    assert content_words(["the dog's bark, after rain", "2 dogs at a door"]) == [
        "after",
        "bark",
        "dog's",
        "dogs",
        "door",
        "rain",
    ]


def test_the_table_is_named_by_its_hash():
    assert len(TABLE.digest) == 64 and load_embedding("wordllama-l2-256") is TABLE
    with pytest.raises(UserError, match=r"text embedding 'glove': .*wordllama-l2-256"):
        StaticEmbedding("glove")


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr("audiodiff.extras.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"^the package wordllama: is not installed; install with: pip install wordllama$"
    ):
        StaticEmbedding("wordllama-l2-256")
