"""Commands that are struck, and what is compared afterwards."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiodiff.files import LOCK

LOGS = ("render.log.jsonl", LOCK)


@dataclass
class Finding:
    """What a fault left: how often it struck, files there should be, and what is wrong with those that there are."""

    fault: str
    strikes: int
    files: int
    wrong: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A row of the table."""
        return f"| {self.fault} | {self.strikes} | {self.files} | {'; '.join(self.wrong) or 'nothing'} |"


def command(*words: object) -> list[str]:
    """A command line of the package."""
    return [sys.executable, "-m", "audiodiff", *map(str, words)]


def run(words: Sequence[str], **options: object) -> tuple[int, str]:
    """Run a command to its end -> (status, standard error)."""
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    return done.returncode, done.stderr


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file; of a sidecar of its settings, without what differs from run to run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in LOGS and ".tmp" not in path.name:
            found[str(path.relative_to(folder))] = hashlib.sha256(_stable(path)).hexdigest()
    return found


def _stable(path: Path) -> bytes:
    if not path.name.endswith(".wav.json"):
        return path.read_bytes()
    entries = json.loads(path.read_bytes())
    entries.pop("real_time_factor", None)
    return json.dumps(entries, sort_keys=True).encode()


def compare(finding: Finding, found: Path, whole: Path, status: int = 0) -> Finding:
    """Note what differs from an unbroken run."""
    ours, theirs = contents(found), contents(whole)
    finding.files = len(theirs)
    if status:
        finding.wrong.append(f"the last command ended with status {status}")
    for kind, names in (
        ("lost", theirs.keys() - ours.keys()),
        ("besides", ours.keys() - theirs.keys()),
        ("changed", {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}),
    ):
        if names:
            finding.wrong.append(f"{len(names)} {kind}, such as {min(names)}")
    return finding


def kill_and_resume(
    fault: str, words: Sequence[str], out: Path, whole: Path, kills: int, patience: float, moments: random.Random
) -> Finding:
    """Kill a command at random moments after it has begun to write, start it again, and let the last one end."""
    finding = Finding(fault, 0, 0)
    for _ in range(kills):
        before = _files(out)
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and _files(out) == before:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, patience))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                finding.strikes += 1
    status, _ = run(words)
    return compare(finding, out, whole, status)


def _files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.*")) if folder.is_dir() else 0
