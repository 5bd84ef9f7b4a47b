"""A clock that is set while commands run: back by an hour, then forward by a day.

libfaketime (of the Debian package of this name) changes the time of day of the processes, not the monotonic clock, as
setting the clock of a computer does.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from faults.strike import Finding

JUMPS = ("-1h", "+1d", "+0")
LONGEST = 300.0  # seconds that a command may take


def library() -> Path | None:
    """The library that changes times, from AUDIODIFF_FAKETIME or where Debian installs it; None: not installed."""
    named = os.environ.get("AUDIODIFF_FAKETIME")
    places = [Path(named)] if named else Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return next((place for place in places if place.is_file()), None)


def set_clock(fault: str, words: Sequence[str], base: Path, begun: Callable[[], int]) -> Finding:
    """Set the clock thrice after a command has begun to write, a moment apart, and let it end.

    Args:
        fault: its name.
        words: the command.
        base: folder that it runs in.
        begun: the number of files that it has written.
    """
    finding, found = Finding(fault, 0, 0), library()
    if found is None:
        finding.fault += " (not measured: libfaketime is not installed)"
        return finding
    offset = base / "offset"
    offset.write_text("+0")
    faked = {"LD_PRELOAD": str(found), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    faked |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    before, started = begun(), time.monotonic()
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, cwd=base, env=os.environ | faked, **output) as process:  # type: ignore[call-overload]
        while process.poll() is None and begun() == before and time.monotonic() - started < LONGEST:
            time.sleep(0.01)
        for jump in JUMPS:
            if process.poll() is None:
                offset.write_text(jump)
                finding.strikes += 1
            time.sleep(0.7)
        try:
            errors = process.communicate(timeout=LONGEST)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            finding.wrong.append(f"did not end within {LONGEST:.0f} s")
            return finding
    if process.returncode:
        finding.wrong.append(f"ended with status {process.returncode}: {errors[-200:]!r}")
    return finding
