import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.balance import MOST, caption_weights, caption_words, word_counts


def totals(captions, weights):
    found: dict[str, float] = {}
    for caption, weight in zip(captions, weights, strict=True):
        for word in caption_words(caption):
            found[word] = found.get(word, 0) + weight
    return found


def test_words_of_captions():
    assert caption_words("The sound of a closed hi-hat, closed, in F# minor") == ["closed", "hi-hat", "f#", "minor"]
    counts = word_counts(["soft rain", "rain", "a rain", "wind"])
    assert counts == {"rain": 3, "soft": 1, "wind": 1} and list(counts) == ["rain", "soft", "wind"]


def test_words_are_drawn_equally_where_that_is_possible():
    captions = ["kick"] * 60 + ["snare"] * 20 + ["soft snare"] * 20 + ["soft kick"] * 4
    weights = caption_weights(captions)
    found = totals(captions, weights)
    assert max(found.values()) / min(found.values()) < 1.01
    before = totals(captions, np.ones(len(captions)))
    assert max(before.values()) / min(before.values()) > 2.5
    assert np.isclose(weights.mean(), 1)


def test_a_rare_word_is_not_drawn_from_few_clips_alone():
    weights = caption_weights(["kick"] * 500 + ["gong"])
    assert 4 < weights[-1] <= MOST * 1.1


def test_no_clip_is_given_up():
    captions = ["guitar strum"] * 300 + [f"sound {letter}x" for letter in "abcdefgh"]
    weights = caption_weights(captions)
    assert weights.min() > 0.9 / MOST and weights[0] < 1 < weights[-1] < 1.1 * MOST


def test_lengths_count_and_alone_for_clips_without_a_caption():
    weights = caption_weights(["kick", "kick", "snare"], [1, 3, 1])
    assert np.allclose(weights, [0.375, 1.125, 1.5])
    assert np.allclose(caption_weights(["", "", ""]), 1)
    long, short, *_ = caption_weights(["", "", "kick", "kick", "snare"], [3, 1, 1, 1, 1])
    assert np.isclose(long, 3 * short) and long > 1 > short
    assert np.allclose(caption_weights(["", "kick", "snare"])[1:].mean(), 1, atol=0.1)


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=3), min_size=1, max_size=20))
def test_weights_of_any_captions_are_positive_finite_and_do_not_depend_on_the_order(captions):
    captions = [" ".join(f"{letter}x" for letter in words) for words in captions]
    weights = caption_weights(captions)
    assert np.isfinite(weights).all() and (weights > 0).all() and np.isclose(weights.mean(), 1)
    assert np.allclose(caption_weights(captions[::-1])[::-1], weights)
