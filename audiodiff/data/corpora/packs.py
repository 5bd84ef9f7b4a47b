"""Packs of named sounds in packages of Debian, npm and PyPI: one function each, from a download to a list of `Sound`s.

A sound's license is that of its own file where the package's documents state it by file (Debian's copyright files),
else the package's. OpenSFX states one in the title of each sound, but its documents state it only of the recordings
that the sounds were edited from, and CC-BY-SA-3.0 of the sounds: that counts.
"""

import glob
import io
import re
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiodiff.audio.io import EXTENSIONS, Audio, read, resample
from audiodiff.data.corpora import debian, music, packages

_RATE, _MOST_RATE = 44100, 48000  # Hz
_ORIGINAL = re.compile(r'"([^"]+\.\w{3,4})"')
_CHORD = re.compile(r"([A-G])(sharp|flat)? ?(major|min[a-z]+)(7b5)?(?:_(UP|DOWN|Down))?_\d+$")
# Sounds of Minetest's game whose authors are not those of the module, by its license.txt, which Debian leaves out.
_MINETEST_LICENSES = {"carts/sounds/carts_cart_moving.": "CC-BY-3.0 (YleArkisto of freesound.org)"}
_COPIES = {"Bmajor": "its recordings are those of B flat major"}
_FREEDOOM_GROUPS = dict.fromkeys(("oof", "noway", "skldth"), "oof")  # edited from one recording
_STROKE = re.compile(r"(softest|soft|med|hard|hardest)$", re.IGNORECASE)
_TAKE = re.compile(
    r"([\W_]*\d+x?|~|[\W_]+(up|down|softest|soft|med|medium|hardest|hard|loud|tiny|small|large|huge|in|out))$", re.I
)
_TITLE = re.compile(r'^"(?P<title>[^"]+)"\.? (?P<credit>.*?)\.? ?License: (?P<license>.+?)\.?( Original is .*)?$')


@dataclass(frozen=True)
class Sound:
    """A sound of a pack.

    Attributes:
        key: unique within the pack, a relative path.
        name: what the caption rules read.
        read: returns the samples.
        license: of this sound, with its holders in parentheses.
        details: of the caption, besides those of the name.
        group: sounds of one group are takes or strokes of one source; "" for one by the name.
        exclude_reason: why it is left out, "" if it is not.
    """

    key: str
    name: str
    read: Callable[[], Audio]
    license: str
    details: tuple[str, ...] = ()
    group: str = ""
    exclude_reason: str = ""


def sonic_pi(downloads: Path) -> list[Sound]:
    """The samples of Sonic Pi, an npm package; Debian's has four fifths of them."""
    archive = packages.fetch_npm("supersonic-scsynth-samples@0.84.2", downloads)
    folder = downloads / "sonic-pi"
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    license = "CC0-1.0 (Uwe Zahn, and authors of freesound.org that its PROVENANCE.md names)"
    return _files(folder / "package/samples", lambda path: license, ".flac")


def arcade(downloads: Path) -> list[Sound]:
    """Sounds by Kenney in the Python package arcade."""
    (wheel,) = packages.fetch_wheels(("arcade==3.3.3",), downloads)
    folder = "arcade/resources/assets/sounds/"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(downloads, [name for name in archive.namelist() if name.startswith(folder)])
    return _files(downloads / folder, lambda path: "CC0-1.0 (Kenney, www.kenney.nl)", ".wav")


def endless_sky(downloads: Path) -> list[Sound]:
    """Sounds of the game Endless Sky."""
    root = debian.fetch("endless-sky-data", downloads)
    return _debian_files(root, "endless-sky-data", "usr/share/games/endless-sky/sounds", "sounds")


def minetest(downloads: Path) -> list[Sound]:
    """Sounds of Minetest's game; the copyright file names the license of each module."""
    package = "minetest-data"
    root = debian.fetch(package, downloads)
    folder = next(root.glob("usr/share/**/minetest_game/mods"))

    def license(path: Path) -> str:
        file = path.relative_to(folder).as_posix()
        own = next((license for start, license in _MINETEST_LICENSES.items() if file.startswith(start)), "")
        return own or debian.license_of(root, package, f"mtg/mods/{file}", "a.ogg")

    return _files(folder, license, ".ogg")


def freedesktop(downloads: Path) -> list[Sound]:
    """The sound theme of freedesktop.org."""
    root = debian.fetch("sound-theme-freedesktop", downloads)
    return _debian_files(root, "sound-theme-freedesktop", "usr/share/sounds/freedesktop/stereo", "stereo")


def ufoai(downloads: Path) -> list[Sound]:
    """Sounds of the game UFO: Alien Invasion, in a zip archive."""
    package = "ufoai-sound"
    root = debian.fetch(package, downloads)
    folder = downloads / "ufoai"
    with zipfile.ZipFile(root / "usr/share/games/ufoai/base/0snd.pk3") as archive:
        archive.extractall(folder)

    def license(path: Path) -> str:
        return debian.license_of(root, package, f"base/{path.relative_to(folder).as_posix()}")

    return _files(folder / "sound", license, ".ogg")


def flare(downloads: Path) -> list[Sound]:
    """Sounds of the game Flare."""
    root = debian.fetch("flare-game", downloads)
    return [
        one
        for folder in sorted(root.glob("usr/share/games/flare/mods/*/soundfx"))
        for one in _debian_files(root, "flare-game", folder.relative_to(root).as_posix(), "mods")
    ]


def opensfx(downloads: Path) -> list[Sound]:
    """OpenSFX: all under CC-BY-SA-3.0, as its README says, whatever license the title of a sound states."""
    root = debian.fetch("openttd-opensfx", downloads)
    found = []
    for number, (title, content) in enumerate(
        _cat_entries((root / "usr/share/games/openttd/baseset/opensfx/opensfx.cat").read_bytes())
    ):
        match = _TITLE.match(title)
        if match is None or match["title"].startswith("Unused"):
            continue
        credit = re.sub(r"[()]", "", match["credit"]).replace(";", ",")
        name = match["title"].removeprefix("Toyland: ").removeprefix("Tropical: ")
        license = f"CC-BY-SA-3.0 ({credit})"
        original = _ORIGINAL.search(match["credit"])  # several sounds are edited from one recording
        found.append(
            Sound(f"{number:02d}", name, partial(_riff, content), license, group=original[1] if original else "")
        )
    return found


def freedoom(downloads: Path) -> list[Sound]:
    """Sounds of the game Freedoom: the lumps DS* of its archives."""
    root = debian.fetch("freedoom", downloads)
    lumps: dict[str, bytes] = {}
    for path in sorted(root.glob("usr/share/games/doom/*.wad")):
        lumps |= dict(_lumps(path.read_bytes()))
    license = "BSD-3-Clause (Contributors to the Freedoom project)"
    return [
        Sound(name, name, partial(_digitized, content), license, group=_FREEDOOM_GROUPS.get(name) or _group(name))
        for name, content in sorted(lumps.items())
    ]


def hydrogen(package: str, downloads: Path) -> list[Sound]:
    """Drum kits of Hydrogen, in one of two packages."""
    root = debian.fetch(package, downloads)
    kits = root / "usr/share/hydrogen/data/drumkits"
    found = []
    for one in music.hydrogen(kits):
        kit, _, stem = one.key.partition("/")
        license = debian.license_of(
            root, package, *(f"drumkits/{name}.h2drumkit" for name in (kit, *_unversioned(kit)))
        )
        read_file = partial(_mono, next((kits / kit).glob(f"{glob.escape(stem)}.*")))
        if chord := _CHORD.match(stem):
            name, details, group = "guitar strum", _chord_details(chord), f"{kit}/{chord[1]}{chord[2] or ''}"
        else:
            instrument = one.piece.partition("/")[2]
            stroke = _STROKE.search(stem)
            name, details, group = f"{instrument} {stroke[1] if stroke else ''}", (), _group(one.piece)
        reason = one.exclude_reason or _COPIES.get(stem.partition("_")[0], "")
        found.append(Sound(one.key, name, read_file, license, details, group, reason))
    return found


def _chord_details(chord: re.Match) -> tuple[str, ...]:
    """Root and kind of a chord, and the direction of its stroke."""
    root, accidental, kind, diminished, direction = chord.groups()
    kind = "half-diminished" if diminished else "major" if kind == "major" else "minor"
    tonic = f"{root} {accidental}" if accidental else root
    return f"{tonic} {kind}", *([f"strummed {direction.lower()}"] if direction else [])


def _unversioned(kit: str) -> list[str]:
    return [kit.rpartition(" ")[0]] if " " in kit else []


def _debian_files(root: Path, package: str, folder: str, pattern: str) -> list[Sound]:
    """The files below a folder of a Debian package, whose copyright file names them `PATTERN/PATH`."""

    def license(path: Path) -> str:
        return debian.license_of(root, package, f"{pattern}/{path.relative_to(root / folder).as_posix()}")

    return _files(root / folder, license)


def _files(folder: Path, license: Callable[[Path], str], *suffixes: str) -> list[Sound]:
    """All audio files below a folder; the names of folders are part of a sound's name."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (suffixes or EXTENSIONS):
            key = path.relative_to(folder).with_suffix("").as_posix()
            found.append(Sound(key, key, partial(_mono, path), license(path), group=_group(key)))
    return found


def _group(key: str) -> str:
    """What takes and strokes of one source have in common: the key without numbers, strokes and directions."""
    group = key
    while (shorter := _TAKE.sub("", group)) != group:
        group = shorter
    return group or key


def _mono(path: Path) -> Audio:
    """A file in mono, at 44.1 kHz if it has more than is heard, scaled if a decoder goes beyond full scale."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*rarely intended")  # of 96 kHz
        audio = read(path)
    samples, rate = audio.samples, audio.sample_rate
    if rate > _MOST_RATE:
        samples, rate = resample(samples, rate, _RATE), _RATE
    return Audio(samples / max(1.0, float(samples.abs().max()) if samples.numel() else 0.0), rate)


def _riff(content: bytes) -> Audio:
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return Audio(torch.from_numpy(samples.mean(1)), rate)


def _cat_entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Title and WAV of every sound in a catalog of OpenTTD: a table of (offset, size), then length, title, WAV each."""
    count = (struct.unpack_from("<I", content)[0] & 0x7FFFFFFF) // 8
    for number in range(count):
        offset, size = (value & 0x7FFFFFFF for value in struct.unpack_from("<II", content, 8 * number))
        length = content[offset]
        title = content[offset + 1 : offset + 1 + length].rstrip(b"\0").decode("utf-8", errors="replace")
        start = offset + 1 + length
        yield title, content[start : start + size]


def _lumps(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name in small letters, without DS, and content of every sound in a WAD archive (a directory at its end)."""
    count, directory = struct.unpack_from("<II", content, 4)
    for number in range(count):
        offset, size, name = struct.unpack_from("<II8s", content, directory + 16 * number)
        if name.startswith(b"DS") and size > 8:
            yield name.rstrip(b"\0")[2:].decode("ascii").lower(), content[offset : offset + size]


def _digitized(lump: bytes) -> Audio:
    """A sound of a WAD archive: format 3, rate, length, then unsigned bytes, with 16 of padding at either end."""
    _, rate, length = struct.unpack_from("<HHI", lump)
    samples = np.frombuffer(lump, np.uint8, min(length, len(lump) - 8), 8)[16:-16]
    return Audio(torch.from_numpy(samples.astype(np.float32) / 128 - 1), rate)
