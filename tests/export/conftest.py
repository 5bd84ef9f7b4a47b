"""The command line, as the tests of export and publish call it."""

import sys

import pytest

from audiodiff.cli import main


@pytest.fixture
def command(monkeypatch, capsys):
    """`command("info", ...)` -> (status, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run
