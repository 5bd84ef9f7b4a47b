"""The first hour of a new user: README's first commands and every tutorial, as they stand, on a clean machine, timed.

`python3 bench/newcomer.py --work FOLDER` clones the committed source tree into `FOLDER`, creates a virtual environment
there for pages whose first extra is the same, and runs the commands and the Python of each page from top to bottom with
an empty home folder, so that no package, model, setting or cache of this machine is found. Only the standard library is
needed. The table is written to `bench/results/newcomer.md`: seconds of each command, and how many of its lines are
warnings or errors; all output is in `FOLDER/PAGE.log`. `--page first_voice` runs one page, and `--make` also `make
speech`.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "newcomer.md"
PAGES = ("README", "first_voice", "first_edit", "first_sound", "first_training", "first_adapter")
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NOISE = re.compile(r"warning|error|traceback|exception", re.IGNORECASE)
# Runs in the page's environment: blocks of Python share their names, as in a notebook.
SESSION = """
import json, resource, subprocess, sys, time, traceback
names = {"__name__": "__main__"}
def processor():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
for kind, text in json.load(sys.stdin):
    print("$ " + text, flush=True)
    start, used = time.perf_counter(), processor()
    try:
        code = subprocess.run(["bash", "-ec", text]).returncode if kind == "bash" else exec(text, names) or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    took = {"seconds": time.perf_counter() - start, "processor": processor() - used}
    print("\\n" + json.dumps({"done": text, "code": code} | took), flush=True)
"""


class Step(NamedTuple):
    """A command of a page, or a block of its Python: wall and processor time, exit status, warnings."""

    page: str
    text: str
    seconds: float
    processor: float
    code: int
    warnings: int


def processor() -> float:
    """Seconds of processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def blocks(page: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The `pip install` lines of a page, and all else that it tells to run: each command, each block of Python."""
    text = (ROOT / ("README.md" if page == "README" else f"docs/tutorials/{page}.md")).read_text(encoding="utf-8")
    found = [(match[1], match[2]) for match in BLOCK.finditer(text)]
    if page == "README":
        found = found[:2]  # the rest of it needs recordings
    lines = [(kind, one) for kind, block in found for one in (block.splitlines() if kind != "python" else [block])]
    installs = [line for kind, line in lines if kind != "python" and line.startswith("pip install")]
    return installs, [("bash" if kind == "text" else kind, one) for kind, one in lines if one not in installs]


def walk(page: str, work: Path, clone: Path) -> list[Step]:
    """Run a page in a folder of its own, with nothing installed but what pages with the same first extra name."""
    installs, rest = blocks(page)
    venv = work / "venv" / "".join(re.findall(r"\[(\w+)", " ".join(installs))[:1])  # by the first extra
    folder, home = work / "files" / page, work / "home" / page
    for path in (folder, home):
        shutil.rmtree(path, ignore_errors=True)  # of a run that was interrupted
        path.mkdir(parents=True)
    if not venv.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    environment = {"HOME": str(home), "PATH": f"{venv}/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name in ("PIP_CERT", "SSL_CERT_FILE")}
    done = []
    for line in installs:
        start, used = time.perf_counter(), processor()
        found = subprocess.run(["bash", "-ec", line], cwd=clone, env=environment, capture_output=True, text=True)
        lines = (found.stdout + found.stderr).splitlines()
        warnings = sum(bool(NOISE.search(one)) for one in found.stderr.splitlines())
        done.append(Step(page, line, time.perf_counter() - start, processor() - used, found.returncode, warnings))
        (work / f"{page}.log").write_text("\n".join([f"$ {line}", *lines, ""]), encoding="utf-8")
    return done + session(page, venv, rest, work, folder, environment)


def session(
    page: str, venv: Path, rest: list[tuple[str, str]], work: Path, folder: Path, environment: dict[str, str]
) -> list[Step]:
    """Run commands and Python in one session."""
    python = [str(venv / "bin" / "python"), "-c", SESSION]
    options = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    output = subprocess.run(python, input=json.dumps(rest), **options).stdout
    with (work / f"{page}.log").open("a", encoding="utf-8") as log:
        log.write(output)
    done, warnings = [], 0
    for line in output.splitlines():
        if line.startswith('{"done"'):
            found = json.loads(line)
            done.append(Step(page, found["done"], found["seconds"], found["processor"], found["code"], warnings))
            warnings = 0
        else:
            warnings += bool(NOISE.search(line)) and not line.startswith("$")
    return done


def make_speech(work: Path, clone: Path) -> list[Step]:
    """Run `make speech`, whose virtual environment is the clone's own."""
    home = work / "home" / "make"
    home.mkdir(parents=True, exist_ok=True)
    environment = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
    start, used = time.perf_counter(), processor()
    with (work / "make speech.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(["make", "speech"], cwd=clone, env=environment, stdout=log, stderr=log)
    lines = (work / "make speech.log").read_text(encoding="utf-8").splitlines()
    warnings = sum(bool(NOISE.search(line)) for line in lines)
    took = time.perf_counter() - start, processor() - used
    return [Step("README", "make speech", *took, done.returncode, warnings)]


def table(steps: list[Step]) -> str:
    """All steps as a page of Markdown."""
    lines = [
        "# A new user on a clean machine",
        "",
        "`python3 bench/newcomer.py --work FOLDER --make`: a clone, an empty home folder for each page, a virtual"
        " environment for each of the extras speech, prompts and train, nothing in a cache; each command as the page"
        " has it. *Lines* counts lines of output with the word warning, error, exception or traceback. Blocks of Python"
        " are named by their first line.",
        "",
        "| page | command | wall time (s) | processor time (s) | exit status | lines |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for one in steps:
        text = one.text.strip().splitlines()[0].replace("|", "\\|")
        times = f"{one.seconds:.1f} | {one.processor:.1f}"
        lines.append(f"| {one.page} | `{text}` | {times} | {one.code} | {one.warnings} |")
    pages = {page: [one for one in steps if one.page == page] for page in dict.fromkeys(one.page for one in steps)}
    totals = [
        f"{page} {sum(one.seconds for one in found) / 60:.1f} ({sum(one.processor for one in found) / 60:.1f})"
        for page, found in pages.items()
    ]
    described = [
        f"date {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"python {platform.python_version()}",
        f"system {platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU",
    ]
    lines += ["", f"Minutes of wall time (of processor time): {', '.join(totals)}.", "", ", ".join(described), ""]
    return "\n".join(lines)


def main() -> None:
    """Run the pages and write the table; pages whose steps are in the folder already are not run again."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder to work in; rerun to resume.")
    parser.add_argument("--page", action="append", help="README or the name of a tutorial; repeatable (default: all).")
    parser.add_argument("--make", action="store_true", help="Also run `make speech`.")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    clone = work / "audiodiff"
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    steps = []
    for page in [*(arguments.page or PAGES), *(["make speech"] if arguments.make else [])]:
        record = work / f"{page}.json"
        if not record.exists():
            found = make_speech(work, clone) if page == "make speech" else walk(page, work, clone)
            record.write_text(json.dumps(found), encoding="utf-8")
        steps += [Step(*one) for one in json.loads(record.read_text(encoding="utf-8"))]
    page = table(steps)
    print(page)
    if not arguments.page:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
