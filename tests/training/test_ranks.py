"""Runs `ranks.py` in its own process: it forks, which torch refuses once a test has used autograd threads."""

import subprocess
import sys
from pathlib import Path


def test_ranks_share_their_batches():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--no-cov"]
    done = subprocess.run([*command, Path(__file__).with_name("ranks.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
