"""Times of speech as files: other programs can read them."""

import itertools
import json
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.pipelines.speech import Speech
from audiodiff.pipelines.timed_text import TimedPhoneme, TimedWord

_TIME = r"(\d\d+):(\d\d):(\d\d),(\d\d\d)"


def make(texts, seconds=4.0):
    """Speech with these words, evenly spaced, a gap before each."""
    step = seconds / max(2 * len(texts), 1)
    words = tuple(TimedWord(text, (2 * i + 1) * step, (2 * i + 2) * step) for i, text in enumerate(texts))
    phonemes = (TimedPhoneme("", 0.0, 1.0), TimedPhoneme('"', 1.0, 1.0), TimedPhoneme("ə", 1.0, seconds))
    sentence = (TimedWord("\n".join(texts), 0.0, seconds),)
    audio = Audio(torch.zeros(round(seconds * 8000)), 8000)
    return Speech(
        audio=audio, seconds=seconds, text=" ".join(texts), words=words, phonemes=phonemes, sentences=sentence
    )


def read_textgrid(text):
    """Tiers of a long TextGrid: {name: [(start, end, label)]}."""
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n')
    tiers = {}
    for block in re.split(r"item \[\d+\]:\n", text)[1:]:
        name = re.search(r'name = "(.*)"', block)[1]
        found = re.findall(r'intervals \[\d+\]:\s+xmin = (\S+)\s+xmax = (\S+)\s+text = "((?:[^"]|"")*)"', block)
        tiers[name] = [(float(start), float(end), label.replace('""', '"')) for start, end, label in found]
        assert int(re.search(r"intervals: size = (\d+)", block)[1]) == len(found)
    return tiers


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9), max_size=5))
def test_a_textgrid_parses_back_into_tiers_without_gaps(texts):
    speech = make(texts)
    tiers = read_textgrid(speech.to_textgrid())
    assert [label for _, _, label in tiers["words"] if label] == texts
    for tier in tiers.values():
        assert tier[0][0] == 0 and tier[-1][1] == speech.seconds
        assert all(one[1] == other[0] and one[0] < one[1] for one, other in itertools.pairwise(tier))


def test_subtitles_are_numbered_blocks_in_order():
    sentences = tuple(TimedWord(f"Line {i}\n\nmore", 3599.0 + i, 3599.9996 + i) for i in range(3))
    speech = make(["a"])
    speech = replace(speech, sentences=sentences)
    blocks = speech.to_srt().rstrip("\n").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["1", "2", "3"]
    assert blocks[0].splitlines()[1:] == ["00:59:59,000 --> 01:00:00,000", "Line 0 more"]
    assert all(re.fullmatch(f"{_TIME} --> {_TIME}", block.splitlines()[1]) for block in blocks)


def test_subtitles_show_no_markup():
    speech = replace(make(["a"]), sentences=(TimedWord("Say [[həlˈoʊ]], [pause 0.5] Dr. No.", 0.0, 1.0),))
    assert speech.to_srt().splitlines()[2] == "Say həlˈoʊ, Dr. No."


def test_json_says_how_a_word_is_spoken_where_it_is_not_as_written():
    words = (TimedWord("pay", 0.0, 1.0), TimedWord("$5", 1.0, 2.0, "five dollars"))
    read = json.loads(replace(make(["a"]), words=words).to_json())
    assert read["words"] == [
        {"text": "pay", "start": 0.0, "end": 1.0},
        {"text": "$5", "start": 1.0, "end": 2.0, "spoken": "five dollars"},
    ]


def test_json_holds_all_times():
    speech = make(["one", "two"])
    read = json.loads(speech.to_json())
    assert [word["text"] for word in read["words"]] == ["one", "two"]
    assert read["phonemes"][0] == {"symbol": "", "start": 0.0, "end": 1.0}
    assert read["seconds"] == 4


def test_joined_speech_has_the_times_of_its_parts_one_after_the_other():
    joined = Speech.join([make(["a"], 1.0), make(["b", "c"], 2.0)], "a b c")
    assert joined.seconds == joined.audio.seconds == 3
    assert [word.text for word in joined.words] == ["a", "b", "c"]
    assert joined.words[1].start == pytest.approx(1 + 0.5)
    assert joined.phonemes[-1].end == pytest.approx(3)
    with pytest.raises(ValueError, match="nothing"):
        Speech.join([], "")
