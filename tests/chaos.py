"""What is left of commands that are killed, find no space, may not write, meet, or see the clock set: `make chaos`.

`python tests/chaos.py` runs real commands of small models and of synthetic recordings. Each fault is followed by the
same command, undisturbed, whose files are compared with those of an unbroken run. The moments of kills are random, of a
seed. It prints a table, writes it to `bench/results/chaos.md`, and fails if anything was lost, changed or half-written.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent))

from faults import clock, cluster, publishing, training
from faults.strike import Finding, command, compare, contents, kill_and_resume, run
from tiny_models import make_model, sound

from audiodiff.audio.io import write
from audiodiff.evaluation import environment
from audiodiff.files import write_text

FAULTS = ("render", "prepare", "train", "publish", "ray", "disk", "clock")
RESULTS = Path(__file__).parents[1] / "bench" / "results" / "chaos.md"


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


def set_clock(fault: str, words: Sequence[str], out: Path, whole: Path) -> Finding:
    """The clock is set while a command writes its files, which are those of an unbroken run."""
    finding = clock.set_clock(fault, words, out.parent, lambda: len(contents(out)) if out.is_dir() else 0)
    if finding.strikes and (negative := negative_times(out)):
        finding.wrong.append(f"{negative} times below zero in its log")
    return compare(finding, out, whole) if finding.strikes else finding


def negative_times(out: Path) -> int:
    """The number of negative durations in the log of a rendering."""
    log = out / "render.log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return sum(value < 0 for entry in entries for value in entry.values() if isinstance(value, int | float))


def train_under_set_clock(folder: Path, whole: Path, *options: str) -> Finding:
    """A run ends with its last step; unless a time limit sets learning rates, with the weights of an unbroken run."""
    if not whole.is_dir():
        run(training.words(whole), cwd=whole.parent)
    begun = lambda: len(list((folder / "checkpoints").glob("step=*")))  # noqa: E731
    fault = " ".join(["train", *options]) + ", clock set"
    finding = clock.set_clock(fault, training.words(folder, *options), folder.parent, begun)
    if not finding.strikes:
        return finding
    if options:
        finding.files = len(list((folder / "checkpoints").glob("step=*")))
        finding.wrong += [] if training.ended(folder) else ["ended before its last step"]
        training.sane_times(finding, folder, 10.0)  # which are measured where they are limited
    else:
        training.compare(finding, folder, whole)
    return finding


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
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only these (repeat)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        make_model().save_pretrained(base / "model")
        many = prepare_inputs(base / "many", args.clips)
        few, some = prepare_inputs(base / "few", 60), prepare_inputs(base / "some", min(300, args.clips))
        spoken = prepare_inputs(base / "spoken", args.clips // 4, 8000)

        def render(inputs: Path, out: Path, *options: object) -> list[str]:
            words = ("--model", base / "model", "--steps", 1, "--batch-size", 8, "--out", out)
            return command("render", inputs, *words, *options)

        def prepare(out: Path) -> list[str]:
            return command("prepare", f"folder:{spoken}", "--out", out)

        wholes = ((many, "whole"), (few, "few-whole"), (some, "some-whole"))
        for words in (*(render(inputs, base / out) for inputs, out in wholes), prepare(base / "prepared-whole")):
            status, errors = run(words)
            assert status == 0, errors
        killed, two_workers = (args.kills, 1.0, moments), render(many, base / "b", "--workers", 2)
        spoken_whole, jumped = base / "prepared-whole", base / "jumped"
        faults: dict[str, Callable[[], Sequence[Finding]]] = {
            "render": lambda: [
                kill_and_resume("render, killed", render(many, base / "a"), base / "a", base / "whole", *killed),
                kill_and_resume("render --workers 2, killed", two_workers, base / "b", base / "whole", *killed),
            ],
            "prepare": lambda: [
                kill_and_resume("prepare, killed", prepare(base / "c"), base / "c", spoken_whole, *killed)
            ],
            "train": lambda: [training.killed(base, args.kills, 1.5, moments)],
            "publish": lambda: [
                publishing.export_killed(base, base / "model", max(args.kills // 2, 2), moments),
                publishing.push_killed(base / "model", args.kills, moments),
            ],
            "ray": lambda: [
                cluster.worker_killed(
                    render(some, base / "f", "--executor", "ray"), base / "f", base / "some-whole", args.kills // 3
                )
            ],
            "disk": lambda: [
                full_disk(render(few, base / "d"), base / "d", base / "few-whole"),
                read_only(lambda out: render(few, out)),
                two_writers(render(few, base / "e"), base / "e", base / "few-whole"),
            ],
            "clock": lambda: [
                set_clock("render, clock set", render(some, jumped), jumped, base / "some-whole"),
                set_clock("prepare, clock set", prepare(base / "g"), base / "g", spoken_whole),
                train_under_set_clock(base / "trained-jumped", base / "trained"),
                train_under_set_clock(base / "trained-limited", base / "trained", "trainer.max_time=00:00:10:00"),
            ],
        }
        findings = [finding for name in args.fault or faults for finding in faults[name]()]
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
