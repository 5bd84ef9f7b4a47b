"""Recordings that come as Debian packages: fetched and unpacked by apt's and dpkg's own tools, nothing is installed.

Root is not needed. When the machine's package lists do not know the package (they are empty in most container images),
private lists are fetched beside the download, from the sources the machine is configured with.
"""

import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

from tqdm import tqdm

from audiodiff.errors import UserError

OTHER_WAYS = "prepare `hibari` (synthetic speech, by pip alone) or `folder:PATH` (your own recordings) instead"
_COMMON_LICENSE = re.compile(r"/usr/share/common-licenses/([\w.+-]*\w)")
_FIELD = re.compile(r"^([\w-]+):(.*(?:\n[ \t].*)*)", re.MULTILINE)
_AUTHORS = re.compile(r"^Upstream Authors?:((?:\n?[ \t]+\S.*)+)", re.MULTILINE)


def fetch(package: str, folder: Path) -> Path:
    """Download a package and unpack it below `folder`, unless it is there; the root of its files is returned.

    Raises:
        UserError: apt-get or dpkg-deb is not installed, or the package cannot be had.
    """
    folder = folder.resolve()  # the tools run in it
    root = folder / package
    if root.is_dir():
        return root
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(tool, f"is not installed here, so that {package} cannot be fetched", OTHER_WAYS)
    folder.mkdir(parents=True, exist_ok=True)
    tqdm.write(f"fetching {package}")
    archive = _download(package, folder)
    unpacking = folder / f"{package}.unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    done = _run(["dpkg-deb", "-x", archive.name, unpacking.name], folder)
    if done.returncode:
        raise UserError(archive, f"cannot be unpacked ({_last_line(done.stderr)})", "free some space and try again")
    unpacking.rename(root)
    archive.unlink()
    return root


def license(root: Path, package: str, *files: str) -> str:
    """What the package's copyright file says of `files`, the first that it names, else of all: "license (holder)".

    These are names as the copyright file writes them, or of single files, which its patterns may stand for.

    Read are the machine-readable form (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/) and, in free
    text, the first license that it names by its place among the common ones.
    """
    text = _copyright(root, package)
    if stanzas := _stanzas(text):
        found = _of(stanzas, files)
        return f"{found['License'][0]} ({_holder(found)})" if found else "see the copyright file"
    common = _COMMON_LICENSE.search(text)
    return common[1] if common else "see the copyright file"


def attribution(root: Path, package: str, *files: str) -> str:
    """Whom the copyright file names for these files, in its own words: the holder and the paragraph's comment.

    In free text it is the list headed "Upstream Authors"; "" where nobody is named.
    """
    text = _copyright(root, package)
    if stanzas := _stanzas(text):
        found = _of(stanzas, files) or {}
        return ". ".join(filter(None, [found and _holder(found), " ".join(found.get("Comment", []))]))
    authors = _AUTHORS.search(text)
    return ", ".join(line.strip() for line in authors[1].strip().split("\n")) if authors else ""


def _copyright(root: Path, package: str) -> str:
    return (root / "usr/share/doc" / package / "copyright").read_text(encoding="utf-8")


def _stanzas(text: str) -> dict[str, dict[str, list[str]]]:
    """Of the machine-readable form: what its paragraphs say of which files, field by field, empty lines left out."""
    found = {}
    for paragraph in re.split(r"\n\s*\n", text):
        entries = {
            name: [line.strip() for line in value.split("\n") if line.strip() not in ("", ".")]
            for name, value in _FIELD.findall(paragraph)
        }
        if entries.get("Files") and entries.get("License"):
            # Names are parted by blanks or by lines.
            found |= {pattern: entries for line in entries["Files"] for pattern in line.split()}
    return found


def _of(stanzas: dict[str, dict], files: tuple[str, ...]) -> dict | None:
    """The paragraph of the first name that one speaks of: as it stands there, else the last pattern that fits it."""
    for name in files:
        fitting = [pattern for pattern in stanzas if pattern != "*" and fnmatchcase(name, pattern)]
        if name in stanzas or fitting:
            return stanzas[name if name in stanzas else fitting[-1]]
    return stanzas.get("*")


def _holder(stanza: dict[str, list[str]]) -> str:
    return "; ".join(stanza.get("Copyright", [])) or "holder not named"


def version(root: Path, package: str) -> str:
    """The package's version, from the first line of its own changelog."""
    import gzip

    for name in ("changelog.Debian.gz", "changelog.gz"):
        log = root / "usr/share/doc" / package / name
        if log.exists():
            with gzip.open(log, "rt", encoding="utf-8", errors="replace") as lines:
                match = re.match(r"\S+ \(([^)]+)\)", lines.readline())
            if match:
                return match[1]
    return "unknown version"


def _download(package: str, folder: Path) -> Path:
    """The archive in `folder`: by the system's package lists, else by private ones, fetched if they do not know it."""
    done = _run(["apt-get", "download", package], folder)
    if done.returncode:
        state = folder / "apt"
        (state / "lists/partial").mkdir(parents=True, exist_ok=True)
        (state / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        private = [
            *("apt-get", "-o", f"Dir::State={state}", "-o", f"Dir::State::Lists={state / 'lists'}"),
            *("-o", f"Dir::Cache={state / 'cache'}", "-o", "APT::Sandbox::User="),
        ]
        done = _run([*private, "download", package], folder)
        if done.returncode:
            tqdm.write("fetching package lists of our own")
            done = _run([*private, "update"], folder)
            done = done if done.returncode else _run([*private, "download", package], folder)
    archives = sorted(folder.glob(f"{package}_*.deb"))
    if done.returncode or not archives:
        raise UserError(package, f"apt-get could not download it ({_last_line(done.stderr)})", OTHER_WAYS)
    return archives[-1]


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
