"""The sentences to read: plain prose, each once, in an order that neither the sources nor their order decide."""

import gzip
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.data.corpora import debian, sentences
from audiodiff.data.corpora.sentences import accept, fortunes, paragraphs, select, wordnet_examples

PROSE = st.from_regex(r"[A-Z][a-z]{2,8}( [a-z]{2,8}){2,12}[.!?]", fullmatch=True)


@pytest.mark.parametrize(
    "text",
    ["He paid $3.50 for 12 eggs.", "Where is Mary?", "It's a well-known fact, isn't it?", "Stop it!"],
)
def test_plain_prose_is_accepted(text):
    assert accept(text)


@pytest.mark.parametrize(
    "text",
    [
        "Stop!",
        "no capital.",
        "No end",
        "A (bracket) here.",
        "The NATO summit.",
        "See http://x.y now.",
        "He said -- nothing.",
        "What a shitty day.",
        "Sexy people here.",
        "The café is open.",
        "Word " * 31 + "end.",
        "",
    ],
)
def test_anything_else_is_left_out(text):
    assert not accept(text)


@settings(max_examples=40, deadline=None)
@given(st.lists(PROSE | st.text(max_size=40), max_size=20), st.randoms())
def test_the_selection_is_accepted_unique_and_independent_of_the_order(candidates, random):
    found = select(candidates)
    assert all(map(accept, found)) and len({one.lower() for one in found}) == len(found)
    shuffled = list(candidates)
    random.shuffle(shuffled)
    letters = [{re.sub(r"\W", "", one.lower()) for one in select(some)} for some in (candidates, shuffled)]
    assert letters[0] == letters[1]
    assert set(select(found)) == set(found)


def test_examples_of_wordnet(tmp_path):
    for name in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{name}").write_text("  1 a license line\n")
    (tmp_path / "data.noun").write_text(
        '0001 03 n 01 x 0 | a thing; "the thing was there all day"; "too short"; "was it a thing at all?"  \n'
    )
    assert list(wordnet_examples(tmp_path)) == ["the thing was there all day.", "was it a thing at all?"]


def test_fortunes_are_read_without_verse_and_without_who_said_them():
    text = (
        "A fool and his money are soon parted.  So it goes.\n\t\t-- Somebody\n%\n"
        "Roses are red,\n  violets are blue.\n%\nOne line\nand its end.\n"
    )
    assert list(fortunes(text)) == ["A fool and his money are soon parted.", "So it goes.", "One line and its end."]


def test_sentences_of_paragraphs_are_long():
    text = (
        "   :cruft:\n\n   An unpleasant substance that builds up over\n   a long time. Short one.\n\n"
        "   and so on it goes for nine words here."
    )
    assert list(paragraphs(text)) == ["An unpleasant substance that builds up over a long time."]


def test_sources_and_licenses_are_recorded(tmp_path, monkeypatch):
    def fetched(package, folder):
        root = folder / package
        (root / "usr/share/doc" / package).mkdir(parents=True, exist_ok=True)
        (root / "usr/share/doc" / package / "copyright").write_text("see /usr/share/common-licenses/GPL-2")
        return root

    monkeypatch.setattr(debian, "fetch", fetched)
    monkeypatch.setattr(sentences, "wordnet_examples", lambda folder: ["the cat sat on the mat."])
    jargon = fetched("jargon-text", tmp_path) / "usr/share/doc/jargon-text/jargon.txt.gz"
    with gzip.open(jargon, "wt") as file:
        file.write("A hack is an elegant solution to a hard problem.\n")
    found = sentences.fetch(tmp_path)
    assert set(found.texts) == {"The cat sat on the mat.", "A hack is an elegant solution to a hard problem."}
    assert "jargon-text unknown version (public domain)" in found.credit and "wordnet-base" in found.credit


def test_the_packaged_sentences_are_different_prose():
    lines = sentences.packaged()
    assert len(lines) == len(set(lines)) == 100
    assert all(20 < len(line) < 100 and line[0].isupper() and line[-1] in ".?!" for line in lines)
