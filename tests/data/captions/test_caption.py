import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.captions import Caption, canonical_caption, caption_of_name, compose
from audiodiff.data.captions.vocabulary import vocabulary

WORDS = {role: sorted(w.text for w in vocabulary().words.values() if w.role == role) for role in ("noun", "adjective")}
captions = st.builds(
    compose,
    st.lists(st.sampled_from(WORDS["noun"]), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(WORDS["adjective"]), max_size=3, unique=True),
    st.lists(st.sampled_from(["on wood", "from a video game", "A4", "C minor"]), max_size=2, unique=True),
)


def test_the_canonical_text_is_adjectives_nouns_and_details():
    caption = compose(["car", "horn"], ["loud", "loud"], ["on wood", "A4"])
    assert caption.text == "loud car horn on wood, A4"
    assert caption.parts == ("adjective: loud", "noun: car", "noun: horn", "detail: on wood", "detail: A4")
    with pytest.raises(ValueError, match="noun"):
        compose([], ["loud"])


def test_wordings_vary_in_detail_words_order_and_form():
    caption = compose(["hi-hat"], ["closed", "soft"], ["from a drum machine"])
    drawn = {caption.draw(np.random.default_rng(seed)) for seed in range(2000)}
    assert {"hi-hat", "closed hi-hat", "a closed hi-hat", "a closed high-hat from a drum machine"} <= drawn
    assert {"hi-hat, soft, closed", "from a drum machine, soft closed hi-hat", "the sound of a hi-hat"} <= drawn
    assert len(drawn) > 60
    assert "a rain" not in " ".join(compose(["rain"]).draw(np.random.default_rng(seed)) for seed in range(50))
    for adjective, article in (("808", "an"), ("8-bit", "an"), ("909", "a"), ("electric", "an")):
        wordings = {compose(["snare"], [adjective]).draw(np.random.default_rng(seed)) for seed in range(200)}
        assert f"{article} {adjective} snare" in wordings
    assert any(compose(["impact"]).draw(np.random.default_rng(seed)) == "an impact" for seed in range(50))


@given(captions, st.integers(0, 2**32))
def test_a_drawn_wording_is_a_function_of_the_seed_says_nothing_new_and_names_the_sound(caption, seed):
    drawn = caption.draw(np.random.default_rng(seed))
    assert drawn == caption.draw(np.random.default_rng(seed))
    assert drawn.isprintable() and drawn
    assert {word.strip(",").lower() for word in drawn.split()} <= caption.words()
    for noun in caption.of_role("noun"):
        assert any(name in drawn for name in (noun, *vocabulary().synonyms(noun)))


@given(st.sampled_from(WORDS["noun"]), st.sampled_from(WORDS["adjective"]), st.integers(0, 999))
def test_drawn_wordings_are_synonymous(noun, adjective, seed):
    caption = caption_of_name(f"{adjective} {noun}")
    found = canonical_caption(caption.draw(np.random.default_rng(seed)))
    # Less detail is fine, another sound or another detail is not.
    assert found in (caption.text, compose(caption.of_role("noun")).text)


@pytest.mark.parametrize(
    ("name", "text", "untrue"),
    [
        ("death scream", "scream", "death"),
        ("tape rewind", "rewind", "tape"),
        ("synthetic hum", "electric hum", "synth"),
    ],
)
def test_what_a_sound_may_not_be_is_read_in_names_and_never_drawn(name, text, untrue):
    caption = caption_of_name(name)
    assert caption.text == text
    assert not any(untrue in caption.draw(np.random.default_rng(seed)) for seed in range(100))


def test_a_drawn_wording_may_say_how_a_sound_is_and_the_canonical_one_does_not():
    caption = compose(["door"], ["heavy"]).with_character(["short", "with a long tail"])
    assert caption.text == "heavy door" and caption.parts[2:] == ("character: short", "character: with a long tail")
    drawn = [caption.draw(np.random.default_rng(seed)) for seed in range(2000)]
    assert 0.3 < np.mean(["short" in words or "brief" in words for words in drawn]) < 0.4
    assert {"door", "a short door with a long tail", "heavy door with a long tail"} <= set(drawn)
    assert Caption("a door").with_character(["short"]) == Caption("a door")


def test_free_text_is_worded_as_it_is():
    assert Caption("Rain on a tin roof.").draw(np.random.default_rng(0)) == "Rain on a tin roof."
    assert Caption("Rain on a tin roof.").words() == {"rain", "on", "a", "tin", "roof"}
    assert Caption().draw(np.random.default_rng(0)) == "" and Caption().words() == set()


@pytest.mark.parametrize("part", ["loud", "verb: run", "noun:rain", "noun: ", "noun: a\nb", "noun: \ud800", 3])
def test_parts_are_checked(part):
    with pytest.raises(ValueError, match="has"):
        Caption("rain", ("noun: rain", part)).validate()
    with pytest.raises(ValueError, match="no noun"):
        Caption("loud", ("adjective: loud",)).validate()
