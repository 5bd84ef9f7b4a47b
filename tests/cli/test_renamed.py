import pytest
from typer.testing import CliRunner

from audiodiff.cli import VERBS, build, renamed
from audiodiff.errors import UserError

OPTIONS = [(verb, old, new) for verb, names in renamed.OPTIONS.items() for old, new in names.items()]


def refusal(*words: str) -> UserError:
    error = CliRunner().invoke(build(), list(words)).exception
    assert isinstance(error, UserError)
    return error


@pytest.mark.parametrize(("verb", "old", "new"), OPTIONS)
@pytest.mark.parametrize("form", ["{} 1", "{}=1"])
def test_an_earlier_option_is_refused_with_its_name_of_today(verb, old, new, form):
    error = refusal(verb, *form.format(old).split())
    assert error.subject == old and new in error.fix


@pytest.mark.parametrize(("old", "new"), renamed.VERBS.items())
def test_an_earlier_verb_is_refused_with_its_name_of_today(old, new):
    error = refusal(old, "--model", "x", "--help")
    assert error.subject == old and new in error.fix
    assert new in VERBS and f"\n  {old} " not in CliRunner().invoke(build(), ["--help"]).output


@pytest.mark.parametrize(("verb", "old", "new"), OPTIONS)
def test_the_name_of_today_is_an_option(verb, old, new):
    shown = CliRunner().invoke(build(), [verb, "--help"]).output
    assert f"{new} " in shown and f"{old} " not in shown


def test_what_follows_two_dashes_is_no_option():
    renamed.refuse({"--old": "--new"}, ["--", "--old"])
    with pytest.raises(UserError):
        renamed.refuse({"--old": "--new"}, ["--old", "--"])
