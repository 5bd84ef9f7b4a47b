"""The English front end: phonemes with word spans, markup, lexicon, and bad input in one line."""

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.text.front_end import Utterance, front_end
from audiodiff.text.lexicon import Lexicon


@pytest.fixture(scope="module")
def english():
    return front_end("en-us")


def test_words_are_spans_of_the_phonemes(english):
    utterance = english.phonemize('"Well," she read the four-year-old; twenty-one files (twice)…')
    assert [word.text for word in utterance.words][:5] == ["Well", "she", "read", "the", "four-year-old"]
    for word in utterance.words:
        assert utterance.phonemes[word.start : word.end] == word.phonemes
        assert word.phonemes[0] not in ' ,;()…"' and word.phonemes[-1] not in ' ,;()…"'
    assert ";" in utterance.phonemes and utterance.phonemes.endswith(")…")
    english.symbols.encode(utterance.phonemes)


def test_stress_and_homographs_are_kept(english):
    assert english.phonemize("Hello there.").phonemes == "həlˈO ðˈɛɹ."
    read = [english.phonemize(text).words[-1].phonemes for text in ("I want to read", "Yesterday it was read")]
    assert read == ["ɹˈid", "ɹˈɛd"]


def test_inline_phonemes_are_spoken_in_context(english):
    assert english.phonemize("Say [[həˈloʊ]] now.").phonemes == english.phonemize("Say hello now.").phonemes
    assert english.phonemize("the [[ˈæpəl]]").phonemes == "ði ˈæpəl"
    word = english.phonemize("the [[kæt]]'s").words[-1]
    assert (word.text, word.phonemes) == ("kæt's", "kæts")


def test_pauses_have_a_place(english):
    utterance = english.phonemize("[pause 1] Hello [pause 0.5] there. [pause 2]")
    assert utterance.phonemes == "həlˈO ðˈɛɹ."
    assert [(pause.position, pause.seconds) for pause in utterance.pauses] == [(0, 1.0), (6, 0.5), (11, 2.0)]


def test_a_lexicon_reaches_possessives_and_plurals():
    speech = front_end("en-us", Lexicon.parse(["gif,dʒɪf", "Reading,ˈrɛdɪŋ"])).phonemize
    assert [word.phonemes for word in speech("GIFs of a gif's gif").words if "ʤ" in word.phonemes] == [
        "ʤɪfs",
        "ʤɪfs",
        "ʤɪf",
    ]
    assert speech("Reading is reading").words[0].phonemes == "ɹˈɛdɪŋ"
    assert speech("Reading is reading").words[2].phonemes != "ɹˈɛdɪŋ"


def test_sentences_end_where_people_end_them(english):
    text = 'Dr. Smith met J. K. Rowling at 5 p.m. Then "Really?" she said. [pause 1]\n\nNew part,\nwrapped; e.g. this'
    assert list(english.sentences(text)) == [
        "Dr. Smith met J. K. Rowling at 5 p.m.",
        'Then "Really?" she said. [pause 1]\n\n',
        "New part, wrapped; e.g. this",
    ]


@pytest.mark.parametrize("gap", ["\n\n", "\r\n\r\n", "\n \t\n\n", "\n\n***\n\n"])
def test_an_empty_line_ends_a_paragraph(english, gap):
    first, second, third = english.sentences(f"{gap}One, two\r\nthree.\nFour?{gap}five{gap}")
    assert first.endswith("One, two three.") and second.startswith("Four?") and third.startswith("five")
    assert second.endswith("\n\n") and "\n" not in third
    assert english.phonemize(second).phonemes == english.phonemize("Four?").phonemes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dr. Smith paid $5.", {"Dr.": "Doctor", "Smith": "", "paid": "", "$5": "five dollars"}),
        ("It is 5 p.m. today", {"It": "", "is": "", "5 p.m.": "five P.M", "today": ""}),
        ("Henry VIII, 20%!", {"Henry": "", "VIII": "the eighth", "20%": "twenty percent"}),
        ("COVID-19 and MP3", {"COVID-19": "COVID nineteen", "and": "", "MP3": "MP three"}),
        ("a@b.org, and/or", {"a@b.org": "a at b dot org", "and/or": "and slash or"}),
        ("yes—no [[kæt]]'s [pause 1] U.S.", {"yes": "", "no": "", "kæt's": "", "U.S.": ""}),
        ("on May 5, 2024", {"on": "", "May": "", "5, 2024": "fifth twenty twenty four"}),
    ],
)
def test_words_are_as_written_with_what_is_spoken(english, text, words):
    assert [(word.text, word.spoken) for word in english.phonemize(text).words] == list(words.items())


WRITTEN = ["$5", "the", "1st", "Mr. X", "(and)", "a-b", "10km", '"Go"', "x@y.com", "p. 3", "IV", "[[kæt]]", "[pause 1]"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WRITTEN)))
def test_written_words_are_the_text_in_order(english, parts):
    text = " ".join(["So", *parts])
    utterance = english.phonemize(text)
    place, plain = 0, text.replace("[[", "").replace("]]", "").replace("[pause 1]", "")
    for word in utterance.words:
        assert utterance.phonemes[word.start : word.end] == word.phonemes
        between, place = place, plain.index(word.text, place) + len(word.text)
        assert not re.search(r"\w", plain[between : place - len(word.text)])
    assert not re.search(r"\w", plain[place:])


def test_a_book_streams(english):
    sentences = english.sentences("One sentence of a book. " * 4200)
    assert next(sentences) == "One sentence of a book."
    assert sum(1 for _ in sentences) == 4199
    assert max(map(len, english.sentences("word " * 20_000))) <= 1000
    assert max(map(len, english.sentences("w" * 100_000))) <= 1000
    assert max(map(len, english.sentences("[ " * 50_000 + "[pause " * 10_000))) <= 1000


def test_clauses_are_cut_at_punctuation(english):
    sentence = "When the rain had stopped, the two of them went out, slowly, to look at the [[ɹˈɪvəɹ, ɹˈɪvəɹ]] again."
    clauses = english.clauses(sentence, 40)
    assert " ".join(clauses) == sentence and clauses[0].endswith(",") and all(len(clause) <= 40 for clause in clauses)
    assert english.clauses("Short.") == ["Short."]


def test_what_nobody_pronounces_is_named_once(english):
    with pytest.warns(UserWarning, match=r"'💩' \(U\+1F4A9\), 'П' \(U\+041F\); left out") as found:
        sentences = list(english.sentences("I 💩 you. П Stay 💩."))
        assert english.phonemize(sentences[0]).phonemes == english.phonemize("I you.").phonemes
    assert len(found) == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "text: is empty"),
        (" \n ", "text: is empty"),
        ("...?!", "nothing that en-us pronounces"),
        ("💩💩", "nothing that en-us pronounces"),
        ("Привет, мир", "nothing that en-us pronounces"),
        ("\x07\x00", "nothing that en-us pronounces"),
        ("a [[ß]]", r"'ß' \(U\+00DF\)"),
        ("a [pause x]", r"\[pause x\]: is not a pause"),
        ("a [pause -1]", r"\[pause -1\]: is not a pause"),
        ("a [pause nan]", "is not a pause"),
        ("a [[abc", r"\[\[ without \]\]"),
    ],
)
def test_bad_text_is_one_line(english, text, message):
    with pytest.raises(UserError, match=message) as error:
        for sentence in english.sentences(text):
            english.phonemize(sentence)
    assert "\n" not in str(error.value)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_spoken_or_refused(english, text):
    with warnings.catch_warnings(action="ignore"):
        try:
            utterances = [
                english.phonemize(part)
                for sentence in english.sentences(text)
                for part in english.clauses(sentence, 30)
            ]
        except UserError as error:
            assert "\n" not in str(error)
            return
    for utterance in utterances:
        english.symbols.encode(utterance.phonemes)
        assert all(utterance.phonemes[word.start : word.end] == word.phonemes for word in utterance.words)


@pytest.mark.parametrize("bad", ["[[ß]]", "[pause 99]", "[[həlˈoʊ", "[[" * 50_000])
def test_bad_markup_is_found_before_the_first_sentence(english, bad):
    with pytest.raises(UserError):
        next(english.sentences(f"{'A sentence of a book. ' * 1000}And {bad} then."))


def test_phonemes_can_be_given():
    utterance = Utterance.from_phonemes(" həlˈO, ðˈɛɹ. ")
    assert [(word.start, word.end) for word in utterance.words] == [(0, 5), (7, 11)]
    with pytest.raises(UserError, match="nothing to pronounce"):
        Utterance.from_phonemes("., ")
    with pytest.raises(UserError, match="symbol 2"):
        Utterance.from_phonemes("hß")


def test_british_and_russian(english):
    assert front_end("en-gb").phonemize("Go home.").phonemes == "ɡˌQ hˈQm."
    russian = front_end("ru")
    (sentence,) = russian.sentences("padúmʌjTə, ɡəspaDín.")
    assert [word.text for word in russian.phonemize(sentence).words] == ["padúmʌjTə", "ɡəspaDín"]
    with pytest.raises(UserError, match="did you mean en-us"):
        front_end("en-uk")
