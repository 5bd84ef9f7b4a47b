"""What is left of commands that are killed, find no space, may not write, or run at once: `make chaos`.

`python tests/chaos.py` runs real commands of a small model and of synthetic recordings. Each fault is followed by the
same command, undisturbed, whose files are compared with those of an unbroken run. The moments of kills are random, of a
seed. It prints a table, writes it to `bench/results/chaos.md`, and fails if anything was lost, changed or half-written.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import make_model, sound

from audiodiff.audio.io import write
from audiodiff.evaluation import environment
from audiodiff.files import LOCK, write_text

RESULTS = Path(__file__).parents[1] / "bench" / "results" / "chaos.md"
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


def full_disk(words: Sequence[str], out: Path, whole: Path) -> Finding:
    """No file may become larger than a few kilobytes; then the disk has space again."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # noqa: E731
    status, errors = run(words, preexec_fn=limit)
    finding = Finding("render, full disk", 1, 0)
    if status != 1 or "cannot be written" not in errors or "Traceback" in errors:
        finding.wrong.append(f"status {status}, {errors[-200:]!r}")
    half = [name for name in contents(out) if name.endswith(".wav")]
    if half:
        finding.wrong.append(f"{len(half)} files that did not fit")
    return compare(finding, out, whole, run(words)[0])


def read_only(words: Callable[[Path], Sequence[str]]) -> Finding:
    """A folder on a file system that takes no files."""
    status, errors = run(words(Path("/proc/rendered")))
    finding = Finding("render, read-only", 1, 0)
    if status != 1 or errors.count("\n") != 1 or "Traceback" in errors:
        finding.wrong.append(f"status {status}, {errors[-200:]!r}")
    return finding


def two_writers(words: Sequence[str], out: Path, whole: Path) -> Finding:
    """The same command twice at once: one works, the other says so."""
    with (
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as one,
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as other,
    ):
        errors = [process.communicate()[1] for process in (one, other)]
        statuses = sorted((one.returncode, other.returncode))
    finding = Finding("render, two writers", 1, 0)
    # They do not meet where the second begins after the first has ended.
    if statuses not in ([0, 0], [0, 1]) or (statuses[1] and "is in use by process" not in "".join(errors)):
        finding.wrong.append(f"statuses {statuses}, {''.join(errors)[-200:]!r}")
    return compare(finding, out, whole)


def prepare_inputs(folder: Path, clips: int, shortest: int = 800) -> Path:
    """Recordings of several lengths, in samples."""
    for number in range(clips):
        write(folder / f"{number:05d}.wav", sound(shortest + 160 * (number % 9), seed=number))
    return folder


def main() -> int:
    """Strike, compare, report; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        make_model().save_pretrained(base / "model")
        many = prepare_inputs(base / "many", args.clips)
        few = prepare_inputs(base / "few", 60)
        spoken = prepare_inputs(base / "spoken", args.clips // 4, 8000)

        def render(inputs: Path, out: Path, *options: object) -> list[str]:
            words = ("--model", base / "model", "--steps", 1, "--batch-size", 8, "--out", out)
            return command("render", inputs, *words, *options)

        def prepare(out: Path) -> list[str]:
            return command("prepare", f"folder:{spoken}", "--out", out)

        for words in (render(many, base / "whole"), render(few, base / "few-whole"), prepare(base / "prepared-whole")):
            status, errors = run(words)
            assert status == 0, errors
        killed, two_workers = (args.kills, 1.0, moments), render(many, base / "b", "--workers", 2)
        findings = [
            kill_and_resume("render, killed", render(many, base / "a"), base / "a", base / "whole", *killed),
            kill_and_resume("render --workers 2, killed", two_workers, base / "b", base / "whole", *killed),
            kill_and_resume("prepare, killed", prepare(base / "c"), base / "c", base / "prepared-whole", *killed),
            full_disk(render(few, base / "d"), base / "d", base / "few-whole"),
            read_only(lambda out: render(few, out)),
            two_writers(render(few, base / "e"), base / "e", base / "few-whole"),
        ]
    text = report(findings, args)
    print(text)
    write_text(args.out, text)
    return int(any(finding.wrong for finding in findings))


def report(findings: Sequence[Finding], args: argparse.Namespace) -> str:
    """The table as Markdown."""
    lines = [
        "# Faults",
        "",
        f"`python tests/chaos.py --clips {args.clips} --kills {args.kills} --seed {args.seed}` (`make chaos`): the "
        "files after the fault and one more, undisturbed command, compared with those of an unbroken run, audio byte "
        "by byte.",
        "",
        "| fault | strikes | files | lost, changed or half-written |",
        "|---|---|---|---|",
        *(finding.row() for finding in findings),
        "",
        ", ".join(f"{key} {value}" for key, value in environment.describe().items()),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
