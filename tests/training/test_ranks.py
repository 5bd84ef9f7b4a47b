"""Runs `ranks.py` in its own process: it forks, which torch refuses once a test has used autograd threads."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_ranks_share_their_batches():
    check("not slow")


@pytest.mark.slow
def test_ranks_train_for_longer_shard_and_resume():
    check("slow")


def check(marked: str) -> None:
    """Run the tests of `ranks.py` that are marked so."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--no-cov"]
    tests = [Path(__file__).with_name("ranks.py"), "-m", marked]
    done = subprocess.run([*command, *tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
