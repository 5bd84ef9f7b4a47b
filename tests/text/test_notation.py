"""Pronunciations in IPA to the alphabet of the symbols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.text.notation import parse_pronunciation
from audiodiff.text.symbols import ENGLISH


@pytest.mark.parametrize(
    ("written", "phonemes"),
    [
        ("həˈloʊ", "həlˈO"),
        ("həlˈO", "həlˈO"),
        ("/həˈləʊ/", "həlˈO"),
        ("ˈsiːkwəl", "sˈikwəl"),
        ("tʃɜːrtʃ", "ʧɜɹʧ"),
        ("t͡ʃip", "ʧip"),
        ("ˈdʒɔɪ", "ʤˈY"),
        ("ˈbʌtɚ", "bˈʌtəɹ"),
        ("ˈa.mə.təɹ", "ˈæmətəɹ"),
        ("gʊd 'naɪt.", "ɡʊd nˈIt."),
    ],
)
def test_ipa_becomes_symbols(written, phonemes):
    assert parse_pronunciation(written) == phonemes


def test_british_vowels_stay():
    assert parse_pronunciation("ˈbɑːθ", "en-gb") == "bˈɑːθ"
    assert parse_pronunciation("gəʊ", "en-gb") == "ɡQ"


def test_unknown_sounds_are_named():
    with pytest.raises(UserError, match=r"'ß' \(U\+00DF\), '7' \(U\+0037\), no sound of en-us"):
        parse_pronunciation("kaßt7")
    with pytest.raises(UserError, match="has no sound"):
        parse_pronunciation("ˈ.")


@given(st.text() | st.text("həˈloʊtʃdʒː ./ɹʤ"))
def test_what_is_accepted_is_in_the_table(written):
    try:
        phonemes = parse_pronunciation(written)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        ENGLISH.encode(phonemes)
