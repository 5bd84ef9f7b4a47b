"""Runs cases of targets in a process of its own, and says of each whether it was one of what is promised.

A case ends in a result or in a `UserError` of one line. While it runs, an audit hook notes every file that Python opens
to write, makes, renames or removes outside of the case's own folder; the peak of the process's memory is read from
Linux, which starts it anew for each case.
"""

import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

SECONDS, BYTES = 10.0, 2 * 10**9  # of one case, and of the whole process
LONGEST_LINE = 2500
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
}


@dataclass
class Outcome:
    """How a case ended.

    Attributes:
        refused: whether with a `UserError`.
        failure: what is wrong with it; empty: nothing.
        megabytes: peak of the process's memory.
        inputs: how many were tried.
    """

    refused: bool
    failure: str
    megabytes: float
    inputs: int = 1


class Guard:
    """Notes changes of files outside of `folder`, while there is one."""

    def __init__(self):
        self.folder, self.found = "", []
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple) -> None:
        if not self.folder:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = flags & _WRITES if isinstance(flags, int) else set(str(mode)) & set("wax+")
            paths: Iterable = (path,) if writes else ()
        else:
            paths = arguments[: _CHANGES.get(event, 0)]
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                place = os.path.abspath(os.fsdecode(path))
                tools = {"__pycache__", ".hypothesis", "matplotlib"} & set(Path(place).parts)
                if not place.startswith((self.folder, "/dev/", "/proc/self/")) and not tools:
                    self.found.append(f"{event} {place}")


def limit_memory() -> None:
    """What exceeds the bound by far fails here, and does not take the computer with it."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 3 * BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_case(case: Callable[[Random, Path], int | None], number: str, folder: Path, guard: Guard) -> Outcome:
    """Run the case of a number in an empty folder."""
    from audiodiff.errors import UserError

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tempfile.tempdir, temporary = str(folder), tempfile.tempdir
    os.chdir(folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew
    refused, failure, inputs = False, "", 1
    guard.folder, guard.found = str(folder), []
    try:
        with warnings.catch_warnings(action="ignore"):
            inputs = case(Random(number), folder) or 1
    except UserError as error:
        refused, line = True, str(error)
        if "\n" in line or len(line) > LONGEST_LINE:
            failure = f"an error of {len(line)} characters or several lines: {line[:200]!r}"
    except BaseException as error:  # whatever it is: that is what is looked for
        *_, last = traceback.extract_tb(error.__traceback__)
        failure = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:200]!r}"
    finally:
        guard.folder, tempfile.tempdir = "", temporary
    if guard.found:
        failure = f"changed {', '.join(guard.found[:3])}; {failure}"
    peak = _peak()
    if peak > BYTES:
        failure = f"{peak / 1e6:.0f} MB of memory; {failure}"
    return Outcome(refused, failure, peak / 1e6, inputs)


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
