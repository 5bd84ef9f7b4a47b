import runpy
import sys

import pytest
from typer.testing import CliRunner

from audiodiff.cli import build


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_multirun_may_stand_anywhere(monkeypatch, flag):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: None)
    result = CliRunner().invoke(build(), ["train", "+recipe=drums", "seed=1,2", flag, "trainer=quick"])
    assert result.exit_code == 0, result.output
    assert sys.argv == ["audiodiff train", flag, "+recipe=drums", "seed=1,2", "trainer=quick"]
