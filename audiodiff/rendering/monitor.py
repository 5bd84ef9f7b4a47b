"""What becomes of each clip of a run: counts, one progress bar, a line for each error, and a log.

The log, `render.log.jsonl` in the output folder, has a line when a run begins, one for each file that is written or
fails, and one when the run ends. It is appended to; the sidecars alone decide what a later run skips. Results of other
processes arrive a shard at a time, so the log of a run that is killed lacks files of unfinished shards: the next run
says of those that it found them. So every file has one line, however often a run was killed.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, Self

from tqdm import tqdm

from audiodiff.errors import UserError
from audiodiff.remote import errors_of, is_remote

LOG = "render.log.jsonl"
_REMOTE_SECONDS = 30.0
_FOUND = "found"  # a file that an earlier run finished, which was killed before it said so
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


@dataclass(frozen=True)
class ClipResult:
    """What became of one clip.

    Attributes:
        file: to be written, or the subject of the error.
        status: what happened.
        seconds: of its audio, if written.
        error: if failed.
    """

    file: str
    status: Literal["written", "skipped", "failed"]
    seconds: float = 0.0
    error: UserError | None = None


@dataclass
class Outcome:
    """How many files were written, skipped because they exist, and failed with a report; seconds of the last one."""

    written: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float | None = None


class Observer(Protocol):
    """Receives what becomes of each clip."""

    def add(self, result: ClipResult) -> None:
        """A clip is done with."""

    def advance(self, clips: float) -> None:
        """So much of the clips that are being worked on is done, in clips."""


class Collector:
    """An `Observer` that keeps the results of a shard, in another process than the run's."""

    def __init__(self):
        self.results: list[ClipResult] = []

    def add(self, result: ClipResult) -> None:
        """Keep a result."""
        self.results.append(result)

    def advance(self, clips: float) -> None:
        """Parts of clips are not counted."""


class Monitor:
    """Observes a whole run; a context manager.

    Args:
        title: of the progress bar, such as "rendering".
        clips: of the run.
        report: called with the error of each clip that fails.
        quiet: no progress bar.
        log: file to append to; None: no log.

    Attributes:
        outcome: so far.
    """

    def __init__(
        self, title: str, clips: int, report: Callable[[UserError], None], quiet: bool = False, log: Path | None = None
    ):
        self.title, self.clips, self.report, self.quiet, self.log = title, clips, report, quiet, log
        self.outcome = Outcome()
        self._audio, self._started, self._logged = 0.0, time.monotonic(), False
        self._lines: list[str] = []  # that are not written yet
        self._earlier: set[str] | None = None  # names that the log has from earlier runs
        self._written = self._started

    def __enter__(self) -> Self:
        """Show the progress bar."""
        # disable=None: no progress bar where stderr is not a terminal. Speed is that of the whole run.
        options = {"unit": " clips", "smoothing": 0, "bar_format": _BAR, "disable": self.quiet or None}
        self.bar = tqdm(total=self.clips, desc=self.title, **options)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the progress bar and the log."""
        self.bar.close()
        if self._logged:
            counts = {"written": self.outcome.written, "failed": self.outcome.failed, "skipped": self.outcome.skipped}
            seconds = round(time.monotonic() - self._started, 3)
            self._append({"event": "stopped" if kind else "ended", **counts, "elapsed": seconds}, last=True)

    def add(self, result: ClipResult) -> None:
        """Count a result, log it, and report its error."""
        outcome = self.outcome
        setattr(outcome, result.status, getattr(outcome, result.status) + 1)
        if result.status == "skipped":
            if self.log is not None and result.file not in self._logged_files():
                self._write(result)
            self.bar.total -= 1  # the remaining time is that of what is to be done
            self.bar.refresh()
            return
        if result.status == "written":
            outcome.seconds = result.seconds
            self._audio += result.seconds
        self.advance(0)
        elapsed = max(time.monotonic() - self._started, 1e-9)
        self.bar.set_postfix_str(f"{self._audio / elapsed:.3g}x real time", refresh=False)
        self._write(result)
        if result.error is not None:
            self.report(result.error)

    def advance(self, clips: float) -> None:
        """Show that a part of the clips that are being worked on is done."""
        self.bar.update(self.outcome.written + self.outcome.failed + clips - self.bar.n)

    def _write(self, result: ClipResult) -> None:
        if self.log is None:
            return
        if not self._logged:
            self._logged = True
            self._append({"event": "started", "clips": self.clips})
        if result.status == "skipped":
            self._append({"event": _FOUND, "file": result.file})
            return
        detail = {"error": str(result.error)} if result.error else {"seconds": round(result.seconds, 6)}
        self._append({"event": result.status, "file": result.file, **detail})

    def _logged_files(self) -> set[str]:
        """Names of the files that the log says were written, or found; read once."""
        if self._earlier is None:
            self._earlier = set()
            with suppress(FileNotFoundError), self.log.open("rb") as file:  # type: ignore[union-attr]
                for line in file:
                    with suppress(ValueError, RecursionError, AttributeError):  # of a run that was killed, or of others
                        entry = json.loads(line)
                        if entry.get("event") in ("written", _FOUND):
                            self._earlier.add(str(entry.get("file")))
        return self._earlier

    def _append(self, entry: dict, last: bool = False) -> None:
        """Append a line; to a remote log, which is then written again as a whole, with others."""
        self._lines.append(json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}) + "\n")
        if is_remote(self.log) and not last and time.monotonic() - self._written < _REMOTE_SECONDS:
            return
        self._written = time.monotonic()
        with errors_of(self.log):
            before = "" if self._whole() else "\n"  # behind what a killed run left of a line
            content = (before + "".join(self._lines)).encode()
            if is_remote(self.log):  # stores replace objects as a whole
                with suppress(FileNotFoundError):
                    content = self.log.read_bytes() + content  # type: ignore[union-attr]
                self.log.write_bytes(content)  # type: ignore[union-attr]
            else:
                with self.log.open("ab") as file:  # type: ignore[union-attr]
                    file.write(content)
        self._lines.clear()

    def _whole(self) -> bool:
        """Whether the log is missing, or ends with a whole line."""
        try:
            with self.log.open("rb") as file:  # type: ignore[union-attr]
                size = file.seek(0, 2)
                return not size or (file.seek(size - 1), file.read(1))[1] == b"\n"
        except FileNotFoundError:
            return True
