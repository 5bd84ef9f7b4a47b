"""Corpora in Debian packages: downloaded by apt-get and unpacked by dpkg-deb; nothing is installed, root is not needed.

If the machine's package lists do not have the package (they are empty in most container images), private lists are
downloaded beside it, from the sources that the machine is configured with.
"""

import gzip
import logging
import re
import shutil
import subprocess
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from audiodiff.data.corpora import music, speech
from audiodiff.data.corpora.corpus import Corpus, Recording, Request
from audiodiff.errors import UserError

_log = logging.getLogger(__name__)
_ALTERNATIVES = "prepare `hibari --clips 100` (synthetic, by pip alone) or `folder:PATH` (your own recordings) instead"
_COMMON_LICENSE = re.compile(r"/usr/share/common-licenses/([\w.+-]*\w)")
_FIELD = re.compile(r"^([\w-]+):(.*(?:\n[ \t].*)*)", re.MULTILINE)
_AUTHORS = re.compile(r"^Upstream Authors?:((?:\n?[ \t]+\S.*)+)", re.MULTILINE)


def festvox_ru(request: Request) -> Corpus:
    """Russian speech of one speaker, a Festival voice."""
    root = fetch("festvox-ru", request.downloads)
    return replace(
        _corpus(speech.festvox(root / "usr/share/festival/voices/russian/msu_ru_nsh_clunits"), root, "festvox-ru"),
        language="ru",
    )


def asterisk(language: str, request: Request) -> Corpus:
    """Voice prompts of the Asterisk telephone exchange in a language."""
    package = f"asterisk-core-sounds-{language}"
    texts = fetch(package, request.downloads) / f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"
    root = fetch(f"{package}-g722", request.downloads)
    found = speech.asterisk(root / "usr/share/asterisk/sounds", texts)
    corpus = _corpus(found, root, f"{package}-g722", f"{language}-*")
    return replace(corpus, language={"en": "en-us"}.get(language, language))


def fillets_cs(request: Request) -> Corpus:
    """Czech dialogs of the game Fish Fillets."""
    root = fetch("fillets-ng-data-cs", request.downloads)
    scripts = fetch("fillets-ng-data", request.downloads) / "usr/share/games/fillets-ng/script"
    found = speech.fillets(root / "usr/share/games/fillets-ng/sound", scripts)
    return replace(_corpus(found, root, "fillets-ng-data-cs"), language="cs")


def sonic_pi(request: Request) -> Corpus:
    """Samples of Sonic Pi."""
    package = "sonic-pi-samples"
    root = fetch(package, request.downloads)
    found = [
        replace(one, license=license_of(root, package, f"etc/samples/{one.key}.flac"))
        for one in music.sonic_pi(root / "usr/share/sonic-pi/samples")
    ]
    return _corpus(found, root, package)


def hydrogen(request: Request) -> Corpus:
    """Drum kits of the Hydrogen drum machine."""
    package = "hydrogen-drumkits"
    root = fetch(package, request.downloads)
    found = [
        # A kit's folder may add a version to the name of the archive that the copyright file uses.
        replace(one, license=license_of(root, package, *(f"drumkits/{n}.h2drumkit" for n in _kit_names(one.speaker))))
        for one in music.hydrogen(root / "usr/share/hydrogen/data/drumkits")
    ]
    return _corpus(found, root, package)


def _kit_names(kit: str) -> tuple[str, str]:
    return kit, kit.rpartition(" ")[0]


def singularity(request: Request) -> Corpus:
    """Music of the game Endgame: Singularity."""
    package = "singularity-music"
    root = fetch(package, request.downloads)
    corpus = _corpus(music.pieces(root / "usr/share/games/singularity/music"), root, package)
    # The copyright file holds the whole text of the license but not its name, which is in the README beside it.
    return replace(corpus, license="CC-BY-SA-3.0 (2007-2008, 2012 Max McCracken)")


def wesnoth(request: Request) -> Corpus:
    """Music of the game Battle for Wesnoth."""
    package = "wesnoth-1.16-music"
    root = fetch(package, request.downloads)
    return _corpus(music.pieces(root / "usr/share/games/wesnoth/1.16/data/core/music"), root, package)


def _corpus(found: list[Recording], root: Path, package: str, *files: str) -> Corpus:
    source = f"Debian {package} {version(root, package)}"
    copyright_file = root / "usr/share/doc" / package / "copyright"
    license = license_of(root, package, *files)
    return Corpus(found, source, license, copyright_file, attribution=attribution(root, package, *files))


def fetch(package: str, folder: Path) -> Path:
    """Download a package and unpack it below `folder`, unless that is done; returns the root of its files.

    Raises:
        UserError: apt-get or dpkg-deb is not installed, or the download fails.
    """
    folder = folder.resolve()  # the tools run in it
    root = folder / package
    if root.is_dir():
        return root
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(tool, f"is not installed here, so that {package} cannot be fetched", _ALTERNATIVES)
    folder.mkdir(parents=True, exist_ok=True)
    _log.info("downloading %s", package)
    archive = _download(package, folder)
    unpacking = folder / f"{package}.unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    done = _run(["dpkg-deb", "-x", archive.name, unpacking.name], folder)
    if done.returncode:
        raise UserError(archive, f"cannot be unpacked ({_last_line(done.stderr)})", "free some space and try again")
    unpacking.rename(root)
    archive.unlink()
    return root


def license_of(root: Path, package: str, *files: str) -> str:
    """The license of a package, "license (holder)", or that of the first of `files` in its copyright file.

    `files` are written as in the copyright file, or name single files that its patterns match. The machine-readable
    form is parsed (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/); in free text, the first
    reference to a common license is used.
    """
    text = _copyright(root, package)
    if stanzas := _stanzas(text):
        found = _stanza(stanzas, files)
        return f"{found['License'][0]} ({_holder(found)})" if found else "see the copyright file"
    common = _COMMON_LICENSE.search(text)
    return common[1] if common else "see the copyright file"


def attribution(root: Path, package: str, *files: str) -> str:
    """The holder and comment of these files in the copyright file, verbatim.

    In free text, the list headed "Upstream Authors"; "" if there is none.
    """
    text = _copyright(root, package)
    if stanzas := _stanzas(text):
        found = _stanza(stanzas, files)
        return ". ".join(filter(None, [_holder(found), " ".join(found.get("Comment", []))])) if found else ""
    authors = _AUTHORS.search(text)
    return ", ".join(line.strip() for line in authors[1].strip().split("\n")) if authors else ""


def _copyright(root: Path, package: str) -> str:
    return (root / "usr/share/doc" / package / "copyright").read_text(encoding="utf-8")


def _stanzas(text: str) -> dict[str, dict[str, list[str]]]:
    """The fields of each file pattern in the machine-readable form, without empty lines."""
    found: dict[str, dict[str, list[str]]] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        entries = {
            name: [line.strip() for line in value.split("\n") if line.strip() not in ("", ".")]
            for name, value in _FIELD.findall(paragraph)
        }
        if entries.get("Files") and entries.get("License"):
            # Names are separated by blanks or lines; some packages write names with blanks on lines of their own.
            found |= {pattern: entries for line in entries["Files"] for pattern in (line, *line.split())}
    return found


def _stanza(stanzas: dict[str, dict], files: tuple[str, ...]) -> dict | None:
    """The paragraph of the first name that has one: its own, else that of the last matching pattern, else of `*`."""
    for name in files:
        fitting = [pattern for pattern in stanzas if pattern != "*" and fnmatchcase(name, pattern)]
        if name in stanzas or fitting:
            return stanzas[name if name in stanzas else fitting[-1]]
    return stanzas.get("*")


def _holder(stanza: dict[str, list[str]]) -> str:
    return "; ".join(stanza.get("Copyright", [])) or "holder not named"


def version(root: Path, package: str) -> str:
    """The package's version, from the first line of its own changelog."""
    for name in ("changelog.Debian.gz", "changelog.gz"):
        log = root / "usr/share/doc" / package / name
        if log.exists():
            with gzip.open(log, "rt", encoding="utf-8", errors="replace") as lines:
                match = re.match(r"\S+ \(([^)]+)\)", lines.readline())
            if match:
                return match[1]
    return "unknown version"


def _download(package: str, folder: Path) -> Path:
    """Download the archive into `folder`: by the system's package lists, else by private ones."""
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
            _log.info("downloading package lists")
            done = _run([*private, "update"], folder)
            done = done if done.returncode else _run([*private, "download", package], folder)
    archives = sorted(folder.glob(f"{package}_*.deb"))
    if done.returncode or not archives:
        raise UserError(package, f"apt-get could not download it ({_last_line(done.stderr)})", _ALTERNATIVES)
    return archives[-1]


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
