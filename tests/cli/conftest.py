"""The command line, as tests of its verbs call it."""

import sys

import pytest

from audiodiff.cli import main


@pytest.fixture
def command(monkeypatch, capsys):
    """`command(words...)` -> (status, lines on stdout, lines on stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out.splitlines(), err.splitlines()

    return run
