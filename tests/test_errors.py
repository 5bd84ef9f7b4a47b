"""A user error is one line that can be read, whatever it quotes."""

from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError


def test_subject_problem_and_fix_make_the_line():
    assert str(UserError("x", "is bad", "mend it")) == "x: is bad; mend it"
    assert str(UserError("x", "is bad")) == "x: is bad"
    assert str(UserError("a\nb", "is\rbad")) == "a\\nb: is\\rbad"


@given(st.text(), st.text(), st.text(), st.integers(1, 5000))
def test_any_parts_make_one_line_of_bounded_length(subject, problem, fix, times):
    error = UserError(subject * times, problem * times, fix * times)
    line = str(error)
    assert not {"\n", "\r"} & set(line) and len(line) <= 2 * (3 * 800 + 4)
    assert (error.subject, error.problem, error.fix) == (subject * times, problem * times, fix * times)


def test_a_long_part_is_shortened_and_the_others_stay():
    line = str(UserError("x", f"is {[1] * 10_000}", "write a number"))
    assert line.startswith("x: is [1, 1, ") and line.endswith(" ...; write a number") and len(line) < 850
