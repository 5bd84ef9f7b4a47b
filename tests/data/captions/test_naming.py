import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.captions import canonical_caption, caption_of_name
from audiodiff.data.captions.naming import split_name
from audiodiff.data.captions.vocabulary import vocabulary
from audiodiff.errors import UserError

KNOWN = sorted(" ".join(words) for words in vocabulary().spelled)
# Names as people write them: known words, in any case, and anything between.
names = st.lists(st.one_of(st.sampled_from(KNOWN), st.text(max_size=6)), max_size=6).flatmap(
    lambda words: st.sampled_from("_- /.").map(lambda mark: mark.join(words))
)


@pytest.mark.parametrize(
    ("name", "caption"),
    {
        "hh_closed_02": "closed hi-hat",
        "HiHatClosed": "closed hi-hat",
        "CHH-1": "closed hi-hat",
        "kick808": "808 kick drum",
        "doors/creak_low_short": "low short door creak",
        "doors/door_open": "door opening",
        "default_gravel_footstep.3": "footsteps on gravel",
        "snare/snare": "snare",
        "Ship horn": "ship horn",
        "a soft, short bell": "soft short bell",
    }.items(),
)
def test_names_as_captions(name, caption):
    assert caption_of_name(name).text == caption


@pytest.mark.parametrize("name", ["", "012", "xyzzy", "soft", "..", "🥁"])
def test_a_name_without_a_known_noun_is_an_error_of_one_line(name):
    with pytest.raises(UserError, match=r"captions\.csv") as error:
        caption_of_name(name)
    assert "\n" not in str(error.value)


def test_names_are_split_at_marks_digits_and_capitals():
    assert split_name("HiHat_closed-02.TR808") == ["hi", "hat", "closed", "02", "tr", "808"]
    assert split_name("Türklingel№2") == ["türklingel", "no", "2"]


@given(names)
def test_any_name_has_a_printable_caption_that_the_rules_leave_as_it_is_or_an_error(name):
    try:
        caption = caption_of_name(name)
    except UserError:
        return
    assert caption.text.strip() == caption.text != ""
    assert caption.text.isprintable() and caption.text.isascii()
    assert caption_of_name(caption.text) == caption
    caption.validate()


@pytest.mark.parametrize("word", [word for word in vocabulary().words.values() if word.role == "noun"], ids=str)
def test_every_spelling_of_a_noun_is_its_own_caption(word):
    for spelling in (word.text, *word.spellings, *word.synonyms):
        assert canonical_caption(spelling) == word.text


def test_rewrites_lead_to_known_words():
    known = {word for spelling in vocabulary().spelled for word in spelling}
    abbreviations = {word for spelling in vocabulary().rewrites for word in spelling}
    for table in (vocabulary().rewrites, *vocabulary().packs.values()):
        for words, other in table.items():
            assert len(words) <= 6, words
            assert set(other) <= known | abbreviations, f"{' '.join(words)} -> {' '.join(other)}"
