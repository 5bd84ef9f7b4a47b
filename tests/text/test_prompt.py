"""The language of prompts: parts, weights and ranges of seconds; anything else is one line that says what to write."""

import contextlib
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.text.prompt import PromptPart, is_plain, parse_prompt


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", []),
        (" \n", []),
        ("a short metallic hit", [PromptPart("a short metallic hit")]),
        ("rain:0.7 | thunder:0.3", [PromptPart("rain", 0.7), PromptPart("thunder", 0.3)]),
        ("steps|birds: -0.5", [PromptPart("steps"), PromptPart("birds", -0.5)]),
        ("kick @0-1 | hat @1-", [PromptPart("kick", 1, 0, 1), PromptPart("hat", 1, 1)]),
        ("kick:2 @-0.5", [PromptPart("kick", 2, 0, 0.5)]),
        ("rain | thunder:0.5 @ 2 - 3.5", [PromptPart("rain"), PromptPart("thunder", 0.5, 2, 3.5)]),
        ("kick: short and dry", [PromptPart("kick: short and dry")]),
        ("a hit at 12:30 sharp", [PromptPart("a hit at 12:30 sharp")]),
        ("someone@home", [PromptPart("someone@home")]),
        ("kick @0–1 | hat @1—", [PromptPart("kick", 1, 0, 1), PromptPart("hat", 1, 1)]),
        ("kick:−1 @\u20112", [PromptPart("kick:−1", 1, 0, 2)]),
    ],
)
def test_prompts_and_their_parts(prompt, parts):
    assert parse_prompt(prompt) == parts


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("rain |", "part without a text"),
        ("| | rain", "part without a text"),
        (":0.5", "has no text"),
        ("@0-1", "has no text"),
        ("rain:nan", "weight nan; use -100 to 100"),
        ("rain:1e9 | thunder", r"weight 1e\+09; use"),
        ("hat @1", "no end; write @1- for from 1 s on, @-1 for until then"),
        ("hat @2-1", "ends before it starts"),
        ("hat @1-1", "ends before it starts"),
        ("hat @x-1", "'x' where seconds"),
        ("hat @nan-1", "'nan' where seconds"),
        ("rain @0:1", "'0:1' where seconds are expected; write a range"),
        ("rain @1s", "'1s' where seconds"),
        ("rain @0-1 loud", "'0-1 loud' where seconds"),
        ("rain @0--1", "'0--1' where seconds"),
        ("rain" * 2501, "of 10004 characters: too long"),
        ("|".join(["rain"] * 9), "9 parts: too many; use at most 8"),
    ],
)
def test_what_is_no_prompt_is_refused_in_one_line(prompt, message):
    with pytest.raises(UserError, match=f"prompt .*{message}") as error:
        parse_prompt(prompt)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a drum: short", True),
        ("drum loop: 120", False),
        ("hat @1", False),
        ("rain |", False),
        ("|".join("a" * 9), False),
    ],
)
def test_which_captions_are_prompts_as_they_are(text, plain):
    assert is_plain(text) == plain


@pytest.mark.parametrize("shape", ["rain @{0}-{0}x y", "rain:{0}1{0}", "{0}@{0}-", "@-" * 4000 + "{0}"])
def test_long_runs_of_spaces_take_no_time(shape):
    begin = time.process_time()
    with contextlib.suppress(UserError):
        parse_prompt(shape.format(" " * 900))
    assert time.process_time() - begin < 0.2


@given(st.text(alphabet="ab :|@-–.0123n\n", max_size=30))
def test_any_text_is_parts_or_one_line(prompt):
    try:
        parts = parse_prompt(prompt)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all(part.text and math.isfinite(part.weight) and 0 <= part.start < part.end for part in parts)
