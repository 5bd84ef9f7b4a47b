"""Texts and tables to speak: what is read, and what is refused where."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import read
from audiodiff.errors import UserError
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.rendering.lines import read_lines


@pytest.fixture
def table(tmp_path):
    def write(content: str, name: str = "table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_a_text_is_a_clip_a_line_numbered_over_all_files(table):
    first, second = table("One.\n\n  Two.  \r\n", "a.txt"), table("\ufeffThree.", "b.txt")
    lines = read_lines([first, second])
    assert [(line.name, line.text) for line in lines] == [("0001", "One."), ("0002", "Two."), ("0003", "Three.")]
    assert lines[1].place.endswith("a.txt, line 3")


def test_columns_are_options_of_their_rows(table):
    path = table('Name,text,speaker,rate,seed,steps\nintro,"Hello, you.",bob,1.5,7,3\n,Second.,,,,\n')
    first, second = read_lines([path])
    common = SpeechOptions(speaker="ann", seed=4, pitch=2)
    assert first.name == "intro" and first.text == "Hello, you."
    assert first.merge(common) == SpeechOptions(speaker="bob", rate=1.5, seed=7, steps=3, pitch=2)
    # A line without a seed starts from the noise of its name, so that others may come and go.
    assert second.name == "0002"
    assert second.merge(common) == SpeechOptions(speaker="ann", seed=clip_seeds(4, ["0002"])[0], pitch=2)


@pytest.mark.parametrize(
    ("content", "subject", "words"),
    [
        ("name,speaker\na,b\n", "table.csv", "no column text"),
        ("text,spaeker\na,b\n", "column 'spaeker'", "speaker"),
        ("text,text\na,b\n", "table.csv", "two columns"),
        ("text,rate\nHello, you,1\n", "line 2", "quote"),
        ("text,rate\nHello,fast\n", "line 2, rate 'fast'", "number"),
        ("text,steps\nHello,1.5\n", "line 2, steps '1.5'", "integer"),
        ("text,name\nHello,../a\n", "line 2, name '../a'", "output folder"),
        ("text,name\nHello,a\nThere,a\n", "line 3", "name of its own"),
        ("text,rate\n,1\n", "line 2", "no text"),
        ("text\n", "table.csv", "no text"),
        ("", "table.csv", "text"),
        (b"text\n\xff\xfe", "table.csv", "UTF-8"),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_place(table, content, subject, words):
    with pytest.raises(UserError) as error:
        read_lines([table(content)])
    assert subject in error.value.subject and words in str(error.value) and "\n" not in str(error.value)


def test_an_option_out_of_range_names_its_line(table):
    (line,) = read_lines([table("text,rate\nHello,9\n")])
    with pytest.raises(UserError, match=r"line 2, rate 9: out of range"):
        line.merge(SpeechOptions())


def test_references_are_relative_to_the_table(table, reference_clips, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").write_bytes(reference_clips[0].read_bytes())
    rows = ["One.,clips/a.wav,", f"Two.,{reference_clips[1]},", "Three.,,bob", "Four.,,", "Five.,clips/a.wav,bob"]
    lines = read_lines([table("text,reference,speaker\n" + "\n".join(rows))])
    low, high = map(read, reference_clips)
    common = SpeechOptions(reference=high)
    first, second, third, fourth = (line.merge(common) for line in lines[:4])
    assert first.reference.samples[0].equal(low.samples) and second.reference.samples[0].equal(high.samples)
    assert (third.speaker, third.reference) == ("bob", None) and fourth.reference is high
    assert lines[0].merge(SpeechOptions(speaker="ann")).speaker is None
    with pytest.raises(UserError, match=r"line 6, speaker 'bob': .*reference"):
        lines[4].merge(SpeechOptions())


def test_a_reference_that_is_missing_names_its_line(table):
    (line,) = read_lines([table("text,reference\nHello,none.wav\n")])
    with pytest.raises(UserError, match=r"line 2, .*none\.wav: "):
        line.merge(SpeechOptions())


@pytest.mark.parametrize("name", ["missing.txt", "song.wav"])
def test_what_is_no_list_of_texts_is_refused(tmp_path, name):
    with pytest.raises(UserError) as error:
        read_lines([tmp_path / name])
    assert name in error.value.subject


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_table_is_read_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(content, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        lines = read_lines([path])
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all(line.text and line.name for line in lines)
