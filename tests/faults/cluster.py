"""Rendering on a Ray cluster of this computer, whose workers and driver are killed."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from faults.strike import Finding, compare, contents, run

MARK = "AUDIODIFF_CHAOS"  # a variable by which the processes of one command are known


def worker_killed(words: Sequence[str], out: Path, whole: Path, kills: int) -> Finding:
    """Kill workers while a command renders, which repeats what they had; then the command itself, and go on."""
    finding, mark = Finding("render --executor ray, worker and driver killed", 0, 0), uuid.uuid4().hex
    environment = os.environ | {MARK: mark}
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=environment, **output) as process:  # type: ignore[call-overload]
        seen = 0
        while process.poll() is None and finding.strikes < kills:
            if len(contents(out)) > seen and (worker := _worker(mark)):
                seen = len(contents(out)) + 4
                finding.strikes += _kill(worker)
            time.sleep(0.02)
        while process.poll() is None and len(contents(out)) < seen:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            finding.strikes += 1
    status, errors = run(words, env=environment)
    if status:
        finding.wrong.append(errors[-200:])
    return compare(finding, out, whole, status)


def _worker(mark: str) -> int | None:
    """A process that renders a shard for the command."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and b"ray::render_shard" in (process / "cmdline").read_bytes():
                ours = f"{MARK}={mark}".encode() in (process / "environ").read_bytes()
                if ours:
                    return int(process.name)
        except OSError:
            continue  # it has ended
    return None


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
