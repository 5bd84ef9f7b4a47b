"""The user's lexicon: matching of words, and one line for a bad one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.text.lexicon import Lexicon


def test_a_file_is_read(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text('\ufeffword,phonemes\n# names\n\nNguyen,wɪn\ngif, ˈdʒɪf\n"O’Shea",oʊˈʃeɪ\n', encoding="utf-8")
    lexicon = Lexicon.load(path)
    assert lexicon.entries == {"Nguyen": "wɪn", "gif": "ʤˈɪf", "O'Shea": "OʃˈA"}


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("gif", "ʤɪf"),
        ("GIF", "ʤɪf"),
        ("Gif's", "ʤɪfs"),
        ("gifs", "ʤɪfs"),
        ("boss’s", "bɔsᵻz"),
        ("Nguyens", "wɪnz"),
        ("nguyen", None),
        ("gift", None),
        ("s", None),
    ],
)
def test_words_are_found_with_their_endings(word, phonemes):
    assert Lexicon.parse(["gif,dʒɪf", "boss,bɔs", "Nguyen,wɪn"]).find(word) == phonemes


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("gif", "is not a word and its phonemes"),
        ("gif,dʒɪf,x", "is not a word and its phonemes"),
        ("gif,", "is not a word and its phonemes"),
        ("new york,nuː", "is not one word"),
        ("gif,ß", "'ß'"),
        ("cat,kæp", "two pronunciations"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, problem):
    path = tmp_path / "words.csv"
    path.write_text(f"cat,kæt\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=problem) as error:
        Lexicon.load(path)
    assert str(error.value).startswith(f"{path}, line 2: ") and "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        Lexicon.load(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,k\n")
    with pytest.raises(UserError, match="UTF-8"):
        Lexicon.load(tmp_path / "latin.csv")


@given(st.lists(st.text()))
def test_any_lines_are_read_or_refused(lines):
    try:
        Lexicon.parse(lines)
    except UserError as error:
        assert "\n" not in str(error)
