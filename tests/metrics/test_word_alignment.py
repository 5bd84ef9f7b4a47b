"""Alignments of words: as short as the Levenshtein distance, and what they call skipped, repeated and inserted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.metrics import transcript
from audiodiff.metrics.word_alignment import WordErrors, align, word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=7)


@given(WORDS, WORDS)
def test_an_alignment_is_shortest_and_covers_both(reference, hypothesis):
    pairs = align(reference, hypothesis)
    assert [i for i, _ in pairs if i is not None] == list(range(len(reference)))
    assert [j for _, j in pairs if j is not None] == list(range(len(hypothesis)))
    assert word_errors(reference, hypothesis).count == transcript.errors(reference, hypothesis)


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("the cat sat down", "the cat sat down", WordErrors()),
        ("the cat sat down", "the sat down", WordErrors(skipped=("cat",))),
        ("the cat sat down", "the cat cat sat down", WordErrors(repeated=("cat",))),
        ("the cat sat down", "the cat sat down there", WordErrors(inserted=("there",))),
        ("the cat sat down", "the hat sat down", WordErrors(changed=(("cat", "hat"),))),
        ("no no no", "no no", WordErrors(skipped=("no",))),
        ("", "well", WordErrors(inserted=("well",))),
        ("one two", "", WordErrors(skipped=("one", "two"))),
    ],
)
def test_what_errors_are_called(text, said, expected):
    assert word_errors(text.split(), said.split()) == expected
