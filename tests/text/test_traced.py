"""Every character of a rewritten text has the span of the original that it stands for."""

import re

from hypothesis import given
from hypothesis import strategies as st

from audiodiff.text.traced import TracedText

PATTERNS = [re.compile(pattern) for pattern in (r"a+", r"\s+", r"(?<=b)(?=c)", r"b|^", "(?:ab)+c?")]


@given(st.text("abc ", max_size=20), st.lists(st.tuples(st.sampled_from(PATTERNS), st.text("abx ", max_size=4))))
def test_substitutions_are_those_of_re_and_keep_their_order(text, rules):
    traced, plain = TracedText.of(text), text
    for pattern, new in rules:
        traced = traced.sub(pattern, lambda found, new=new: new + found[0][:1])
        plain = pattern.sub(lambda found, new=new: new + found[0][:1], plain)
    assert traced.text == plain and len(traced.spans) == len(plain)
    assert all(0 <= start <= end <= len(text) for start, end in traced.spans)
    assert [start for start, _ in traced.spans] == sorted(start for start, _ in traced.spans)
    assert traced.strip().text == plain.strip()


def test_what_a_replacement_shares_with_the_original_stands_for_itself():
    traced = TracedText.of("at Mt. Fuji").sub(re.compile(r"Mt\. "), lambda _: "Mount ")
    assert traced.text == "at Mount Fuji"
    assert traced.span(3, 4) == (3, 4) and traced.span(4, 8) == (4, 6) and traced.span(9, 13) == (7, 11)
    assert traced.span(13, 13) == (11, 11)
