"""The first hour of a new user: README's first commands and every tutorial, as they stand, on a clean machine, timed.

`python3 bench/newcomer.py --work FOLDER` clones the committed source tree into `FOLDER`, creates a virtual environment
there for each page, and runs the page's commands and Python from top to bottom with an empty home folder, so that no
package, model, setting or cache of this machine is found. Only the standard library is needed. The table is written to
`bench/results/newcomer.md`: seconds of each command, and how many of its lines are warnings or errors; all output is in
`FOLDER/PAGE.log`. `--page first_voice` runs one page, and `--make` also `make speech`.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "newcomer.md"
TUTORIALS = ("first_sound", "first_voice", "first_edit", "first_training", "first_adapter")
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NOISE = re.compile(r"warning|error|traceback|exception", re.IGNORECASE)
# Runs in the page's environment: blocks of Python share their names, as in a notebook.
SESSION = """
import json, subprocess, sys, time, traceback
names = {"__name__": "__main__"}
for kind, text in json.load(sys.stdin):
    print("$ " + text, flush=True)
    start = time.perf_counter()
    try:
        code = subprocess.run(["bash", "-ec", text]).returncode if kind == "bash" else exec(text, names) or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    print("\\n" + json.dumps({"done": text, "seconds": time.perf_counter() - start, "code": code}), flush=True)
"""


class Step(NamedTuple):
    """A command of a page, or a block of its Python: wall time, exit status, lines that warn."""

    page: str
    text: str
    seconds: float
    code: int
    warnings: int


def blocks(page: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The `pip install` lines of a page, and all else that it tells to run: each command, each block of Python."""
    text = (ROOT / ("README.md" if page == "README" else f"docs/tutorials/{page}.md")).read_text(encoding="utf-8")
    found = [(match[1], match[2]) for match in BLOCK.finditer(text)]
    if page == "README":
        found = found[:1]  # the rest of it needs recordings
    lines = [(kind, one) for kind, block in found for one in (block.splitlines() if kind != "python" else [block])]
    installs = [line for kind, line in lines if kind != "python" and line.startswith("pip install")]
    return installs, [("bash" if kind == "text" else kind, one) for kind, one in lines if one not in installs]


def walk(page: str, work: Path, clone: Path) -> list[Step]:
    """Run a page in a virtual environment of its own, in a folder of its own."""
    venv, folder, home = work / "venv" / page, work / "files" / page, work / "home" / page
    for path in (folder, home):
        path.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    environment = {"HOME": str(home), "PATH": f"{venv}/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name in ("PIP_CERT", "SSL_CERT_FILE")}
    installs, rest = blocks(page)
    done = []
    for line in installs:
        start = time.perf_counter()
        found = subprocess.run(["bash", "-ec", line], cwd=clone, env=environment, capture_output=True, text=True)
        lines = (found.stdout + found.stderr).splitlines()
        warnings = sum(bool(NOISE.search(one)) for one in found.stderr.splitlines())
        done.append(Step(page, line, time.perf_counter() - start, found.returncode, warnings))
        (work / f"{page}.log").write_text("\n".join([f"$ {line}", *lines, ""]), encoding="utf-8")
    done += session(page, rest, work, folder, environment)
    shutil.rmtree(venv)  # gigabytes
    return done


def session(
    page: str, rest: list[tuple[str, str]], work: Path, folder: Path, environment: dict[str, str]
) -> list[Step]:
    """Run commands and Python in one session."""
    python = [str(work / "venv" / page / "bin" / "python"), "-c", SESSION]
    options = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    output = subprocess.run(python, input=json.dumps(rest), **options).stdout
    with (work / f"{page}.log").open("a", encoding="utf-8") as log:
        log.write(output)
    done, warnings = [], 0
    for line in output.splitlines():
        if line.startswith('{"done"'):
            found = json.loads(line)
            done.append(Step(page, found["done"], found["seconds"], found["code"], warnings))
            warnings = 0
        else:
            warnings += bool(NOISE.search(line)) and not line.startswith("$")
    return done


def table(steps: list[Step]) -> str:
    """All steps as a page of Markdown."""
    described = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU",
    }
    lines = [
        "# A new user on a clean machine",
        "",
        "`python3 bench/newcomer.py --work FOLDER --make`: a clone, a virtual environment and an empty home folder for"
        " each page, nothing in a cache; each command as the page has it, seconds of wall time. *Lines* counts lines of"
        " output with the word warning, error, exception or traceback. Blocks of Python are named by their first line.",
        "",
        "| page | command | seconds | exit status | lines |",
        "|---|---|---:|---:|---:|",
    ]
    for one in steps:
        text = one.text.strip().splitlines()[0].replace("|", "\\|")
        lines.append(f"| {one.page} | `{text}` | {one.seconds:.1f} | {one.code} | {one.warnings} |")
    totals = {
        page: sum(one.seconds for one in steps if one.page == page) for page in dict.fromkeys(s.page for s in steps)
    }
    lines += ["", "Together: " + ", ".join(f"{page} {seconds / 60:.1f} min" for page, seconds in totals.items()) + "."]
    return "\n".join([*lines, "", ", ".join(f"{key} {value}" for key, value in described.items()), ""])


def main() -> None:
    """Run the pages and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder to work in, which must not exist yet.")
    parser.add_argument("--page", action="append", help="README or the name of a tutorial; repeatable (default: all).")
    parser.add_argument("--make", action="store_true", help="Also run `make speech`.")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True)
    clone = work / "audiodiff"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    steps = []
    for page in arguments.page or ("README", *TUTORIALS):
        steps += walk(page, work, clone)
        for step in steps:
            if step.page == page:
                print(
                    f"{page}: {step.seconds:.1f} s, status {step.code}, {step.warnings} lines: {step.text.strip()[:80]}"
                )
    if arguments.make:
        home = work / "home" / "make"
        home.mkdir(parents=True)
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        start = time.perf_counter()
        with (work / "make.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                ["make", "speech"], cwd=clone, env={"HOME": str(home), "PATH": path}, stdout=log, stderr=log
            )
        lines = (work / "make.log").read_text(encoding="utf-8").splitlines()
        warnings = sum(bool(NOISE.search(line)) for line in lines)
        steps.append(Step("README", "make speech", time.perf_counter() - start, done.returncode, warnings))
    if not arguments.page:
        RESULTS.write_text(table(steps), encoding="utf-8")


if __name__ == "__main__":
    main()
