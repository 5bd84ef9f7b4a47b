import runpy
import shlex
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from audiodiff import config
from audiodiff.cli import build

CONF = Path(__file__).parents[2] / "conf" / "train.yaml"


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_multirun_may_stand_anywhere(monkeypatch, flag):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: None)
    result = CliRunner().invoke(build(), ["train", "+recipe=drums", "seed=1,2", flag, "trainer=quick"])
    assert result.exit_code == 0, result.output
    assert sys.argv == ["audiodiff train", flag, "+recipe=drums", "seed=1,2", "trainer=quick"]


def test_commands_of_the_help_are_ones_that_train():
    header = OmegaConf.load(CONF).hydra.help.header
    commands = [line for line in header.splitlines() if line.startswith("  audiodiff train ")]
    assert len(commands) == 6
    for line in commands:
        words = shlex.split(line.strip().partition("  ")[0])[2:]
        assert words
        config.check([word for word in words if word not in ("--cfg", "job")])
