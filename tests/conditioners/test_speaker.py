"""Speakers: their vectors, mixtures of them, and speakers that are added."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.conditioners.speaker import Speaker
from audiodiff.errors import UserError
from audiodiff.text.placeholder import is_speaker


def embedding(speaker: Speaker, chosen) -> torch.Tensor:
    return speaker({"speaker": speaker.weights(chosen)[None]}).global_embedding[0]


def test_an_added_speaker_has_its_vector_and_mixes_with_others():
    speaker, vector = Speaker(["ann", "bob"], 4), torch.tensor([1.0, -2.0, 3.0, 0.5])
    ann = embedding(speaker, "ann")
    assert torch.equal(speaker.learn("anna", vector), vector) and speaker.names == ("ann", "bob", "anna")
    assert torch.equal(embedding(speaker, "anna"), vector) and torch.equal(embedding(speaker, "ann"), ann)
    torch.testing.assert_close(embedding(speaker, "ann:1,anna:3"), 0.25 * ann + 0.75 * vector)
    with pytest.raises(UserError, match="choose one of ann, bob, anna"):
        speaker.weights("eve")


def test_a_new_speaker_begins_with_the_mean_or_with_a_mixture():
    speaker = Speaker(["ann", "bob"], 4, added=["eve"])
    with torch.no_grad():
        speaker.vectors[0].copy_(torch.arange(4.0))
    vectors = torch.stack([embedding(speaker, name) for name in ("ann", "bob", "eve")])
    torch.testing.assert_close(speaker.initial_vector(None), vectors.mean(0))
    torch.testing.assert_close(speaker.initial_vector("bob"), vectors[1])
    torch.testing.assert_close(speaker.initial_vector("ann:1,eve:1"), vectors[[0, 2]].mean(0))


def test_weights_of_any_size_add_up():
    """Also those whose sum is beyond float32, and those of a name that stands there twice."""
    speaker = Speaker(["ann", "bob"], 4)
    for mixture in ("ann:3e38,bob:9e38", {"ann": 1, "bob": np.float32(3)}, "ann:0.25,bob:0.5,bob:0.25"):
        assert torch.equal(speaker.weights(mixture), torch.tensor([0.25, 0.75]))


@pytest.mark.parametrize(
    "mixture", ["ann:1e308,bob:1e308", {"ann": "x"}, {"ann": None}, {"ann": 10**400}, {}, 3, [("ann", 1)], "ann:nan"]
)
def test_what_is_no_mixture_is_refused_in_one_line(mixture):
    with pytest.raises(UserError, match=r"^(weight of )?speaker [^\n]*$"):
        Speaker(["ann", "bob"], 4).weights(mixture)


@pytest.mark.parametrize(("name", "size", "match"), [("ann", 4, "is known already"), ("anna", 3, r"a vector \(3,\)")])
def test_what_cannot_be_added_is_refused(name, size, match):
    speaker = Speaker(["ann"], 4)
    with pytest.raises(ValueError, match=match):
        speaker.learn(name, torch.zeros(size))
    assert speaker.names == ("ann",) and not len(speaker.vectors)


def test_names_are_different():
    with pytest.raises(ValueError, match="different names"):
        Speaker(["ann"], 4, added=["ann"])


@given(st.text(max_size=90))
def test_any_name_of_a_speaker_is_a_speaker_and_not_a_mixture(name):
    if is_speaker(name):
        speaker = Speaker(["ann", name], 4) if name != "ann" else Speaker(["ann"], 4)
        assert speaker.weights(name).tolist()[-1] == 1
