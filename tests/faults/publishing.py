"""Publishing that is killed: an export, or a repository of a hub, is there as a whole or not at all."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from faults.strike import Finding, command, run
from hub_server import TOKEN, serve

from audiodiff.errors import UserError
from audiodiff.models import onnx_export


def export_killed(base: Path, model: Path, kills: int, moments: random.Random) -> Finding:
    """Kill exports as soon as they begin to write; every other one replaces an earlier export."""
    place = base / "exports"
    place.mkdir()
    finding = Finding("export, killed", 0, 0)
    for number in range(kills):
        # The second half of the strikes hit a replacement.
        if number == kills // 2:
            _whole(finding, run(command("export", model, "--out", place / "out", "--overwrite"))[0])
        words = command("export", model, "--out", place / "out", "--overwrite")
        before = _names(place)
        finding.strikes += _strike(words, lambda before=before: _names(place) != before, moments.uniform(0, 0.01))
        finding.wrong += _unreadable(place / "out")
    _whole(finding, run(command("export", model, "--out", place / "out", "--overwrite"))[0])
    finding.wrong += _unreadable(place / "out") if (place / "out").is_dir() else ["nothing is exported"]
    finding.files = len(_names(place))
    return finding


def push_killed(model: Path, kills: int, moments: random.Random) -> Finding:
    """Kill uploads at one request after the other: the repository has no files, or all of them."""
    finding = Finding("push, killed", 0, 0)
    with serve() as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        environment["HF_HUB_DISABLE_XET"] = "1"  # the hub here has large files in its own API
        run(command("push", model, "owner/whole"), env=environment)
        whole = hub.repositories["owner/whole"]["main"]
        words = command("push", model, "owner/broken")
        for number in range(kills):
            requests = len(hub.requests) + number % 8
            due = lambda most=requests: len(hub.requests) > most  # noqa: E731
            finding.strikes += _strike(words, due, moments.uniform(0, 0.02), env=environment)
            time.sleep(0.1)  # the server ends what it received
            files = hub.repositories.get("owner/broken", {}).get("main", {})
            if files and files.keys() != whole.keys():
                finding.wrong.append(f"a repository of {len(files)} of {len(whole)} files")
        _whole(finding, run(words, env=environment)[0])
        finding.files = len(whole)
        if hub.repositories["owner/broken"]["main"] != whole:
            finding.wrong.append("the files differ from those of an unbroken upload")
    return finding


def _strike(words: list[str], due: Callable[[], bool], pause: float, **options: object) -> bool:
    """Kill a command some time after something is so; whether it was still running."""
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, **output, **options) as process:  # type: ignore[call-overload]
        while process.poll() is None and not due():
            time.sleep(0.001)
        time.sleep(pause)
        running = process.poll() is None
        if running:
            process.send_signal(signal.SIGKILL)
    return running


def _whole(finding: Finding, status: int) -> None:
    if status:
        finding.wrong.append(f"an undisturbed command ended with status {status}")


def _names(folder: Path) -> set[tuple[str, int]]:
    """Names and sizes of all files, temporary ones as well."""
    found = set()
    for path in folder.rglob("*"):
        try:
            found.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def _unreadable(out: Path) -> list[str]:
    """What is wrong with an export that is visible."""
    if not onnx_export.is_export(out):
        return []
    try:
        onnx_export.read(out)
    except UserError as error:
        return [f"a half-written export: {error}"]
    return []
