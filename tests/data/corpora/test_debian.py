import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from audiodiff.data.corpora import debian
from audiodiff.data.preparation import prepare
from audiodiff.data.provenance import provenance
from audiodiff.errors import UserError

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")

COPYRIGHT = """\
Format: http://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2003-2010, Some Speaker
Comment: The CREDITS file:
 License: a line of the comment
License: CC-BY-SA-3.0

Files: xx-*
Copyright: 2010, Somebody Else
License: CC-BY-3.0

Files: debian/*
Copyright: 2010, The Packager
License: GPL-2+
 text

License: CC-BY-SA-3.0
 THE WORK ...
"""


@pytest.fixture
def archive(tmp_path) -> Path:
    """A real package, built by dpkg-deb."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: some-voice\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: Nobody <n@example.org>\nDescription: x\n"
    )
    documents = tree / "usr/share/doc/some-voice"
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(COPYRIGHT)
    with gzip.open(documents / "changelog.Debian.gz", "wt") as file:
        file.write("some-voice (1:2.0-1) unstable; urgency=low\n")
    path = tmp_path / "some-voice_1%3a2.0-1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(path)], check=True, capture_output=True)
    return path


def fake_apt(folder: Path, script: str, monkeypatch) -> Path:
    """An `apt-get` of our own in front of the system's; its calls are written to the returned file."""
    log = folder / "calls"
    program = folder / "bin/apt-get"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


@needs_dpkg
def test_fetch_unpacks_once(archive, tmp_path, monkeypatch):
    log = fake_apt(tmp_path, f"cp '{archive}' .", monkeypatch)
    root = debian.fetch("some-voice", tmp_path / "cache")
    assert (root / "usr/share/doc/some-voice/copyright").read_text() == COPYRIGHT
    assert debian.version(root, "some-voice") == "1:2.0-1"
    assert debian.fetch("some-voice", tmp_path / "cache") == root
    assert log.read_text().splitlines() == ["download some-voice"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["some-voice"]


@needs_dpkg
def test_private_package_lists_if_the_systems_lack_the_package(archive, tmp_path, monkeypatch):
    lists = tmp_path / "cache/apt/lists/fetched"
    script = (
        f'case "$*" in *Dir::State::Lists=*update*) touch {lists};; '
        f'*Dir::State::Lists=*download*) test -e {lists} && cp "{archive}" .;; *) exit 100;; esac'
    )
    log = fake_apt(tmp_path, script, monkeypatch)
    monkeypatch.chdir(tmp_path)
    debian.fetch("some-voice", Path("cache"))  # relative, as `--out data` is
    shutil.rmtree(tmp_path / "cache/some-voice")
    debian.fetch("some-voice", tmp_path / "cache")
    calls = log.read_text().splitlines()
    private = [call for call in calls if "-o" in call.split()]
    assert [call.split()[-1] for call in private] == ["some-voice", "update", "some-voice", "some-voice"]
    for option in ("Dir::State=", "Dir::State::Lists=", "Dir::Cache="):
        assert all(f"-o {option}{tmp_path / 'cache'}" in call for call in private)


@needs_dpkg
def test_a_package_that_cannot_be_had(tmp_path, monkeypatch):
    fake_apt(tmp_path, "echo warning >&2; echo 'E: no network' >&2; exit 100", monkeypatch)
    with pytest.raises(UserError, match=r"some-voice: .*\(E: no network\).*`hibari --clips 100`.*`folder:PATH`"):
        debian.fetch("some-voice", tmp_path / "cache")


@needs_dpkg
def test_a_damaged_archive(tmp_path, monkeypatch):
    fake_apt(tmp_path, "echo junk > some-voice_1_all.deb", monkeypatch)
    with pytest.raises(UserError, match="cannot be unpacked"):
        debian.fetch("some-voice", tmp_path / "cache")
    assert not (tmp_path / "cache/some-voice").exists()


def test_without_apt_one_line_names_the_ways_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"apt-get: is not installed.*`hibari --clips 100`.*`folder:PATH`") as error:
        prepare(["asterisk-en"], tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        (COPYRIGHT, "*", "CC-BY-SA-3.0 (2003-2010, Some Speaker)"),
        (COPYRIGHT, "xx-*", "CC-BY-3.0 (2010, Somebody Else)"),
        (COPYRIGHT, "yy-*", "CC-BY-SA-3.0 (2003-2010, Some Speaker)"),
        ("Free text.\n\nSee `/usr/share/common-licenses/GPL-2'.\n", "*", "GPL-2"),
        ("Free text.\n\nSee /usr/share/common-licenses/Apache-2.0.\n", "*", "Apache-2.0"),
        ("Do what you like.\n", "*", "see the copyright file"),
        ("Files: a\nLicense: X\n", "b", "see the copyright file"),
        (
            "Files: *\nCopyright: 2001, One\n           2002, Two\nLicense: X\n .\n text\n",
            "*",
            "X (2001, One; 2002, Two)",
        ),
        ("Files: *\nLicense: X\n", "*", "X (holder not named)"),
        ("Files: *\nLicense: X\n\nFiles:\n a b\n kits/My?Kit.zip\nLicense: Y\n", "b", "Y (holder not named)"),
        (
            "Files: *\nLicense: X\n\nFiles:\n a b\n kits/My?Kit.zip\nLicense: Y\n",
            "kits/My Kit.zip",
            "Y (holder not named)",
        ),
        ("Files: a*\nLicense: X\n\nFiles: ab*\nLicense: Y\n", "abc", "Y (holder not named)"),
    ],
)
def test_license_of_a_copyright_file(tmp_path, text, files, expected):
    (tmp_path / "usr/share/doc/p").mkdir(parents=True)
    (tmp_path / "usr/share/doc/p/copyright").write_text(text)
    assert debian.license_of(tmp_path, "p", files) == expected
    assert debian.version(tmp_path, "p") == "unknown version"


def test_the_first_name_in_the_copyright_file_counts(tmp_path):
    (tmp_path / "usr/share/doc/p").mkdir(parents=True)
    (tmp_path / "usr/share/doc/p/copyright").write_text("Files: *\nLicense: X\n\nFiles: kit.zip\nLicense: Y\n")
    assert debian.license_of(tmp_path, "p", "kit v4.zip", "kit.zip") == "Y (holder not named)"
    assert debian.license_of(tmp_path, "p", "kit v4.zip", "kit v.zip") == "X (holder not named)"


FREE_TEXT = """\
This package was made by A. Packager.

Upstream Authors:
    Ivo Somebody (ivo@example.org)
    A Studio

Copyright: see `/usr/share/common-licenses/GPL-2'.

Upstream Authors: The fonts' one
"""


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        (COPYRIGHT, "*", "2003-2010, Some Speaker. The CREDITS file: License: a line of the comment"),
        (COPYRIGHT, "xx-*", "2010, Somebody Else"),
        (COPYRIGHT, "yy-*", "2003-2010, Some Speaker. The CREDITS file: License: a line of the comment"),
        ("Files: a\nLicense: X\n", "b", ""),
        ("Files: *\nCopyright: 2001, One\n           2002, Two\nLicense: X\n .\n text\n", "*", "2001, One; 2002, Two"),
        (FREE_TEXT, "*", "Ivo Somebody (ivo@example.org), A Studio"),
        ("Do what you like.\n", "*", ""),
    ],
)
def test_attribution_of_a_copyright_file(tmp_path, text, files, expected):
    (tmp_path / "usr/share/doc/p").mkdir(parents=True)
    (tmp_path / "usr/share/doc/p/copyright").write_text(text)
    assert debian.attribution(tmp_path, "p", files) == expected


@needs_apt
@needs_dpkg
@pytest.mark.slow
@pytest.mark.network
def test_asterisk_en_with_empty_package_lists(tmp_path, monkeypatch):
    """The whole way, as in a container image whose package lists are empty."""
    (tmp_path / "empty/partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path / "empty"}";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    manifest = prepare(["asterisk-en"], tmp_path / "out")
    assert len(manifest) == 551
    assert len(manifest.with_splits("validation", "test")) == 60
    assert all(clip.text and clip.license.startswith("CC-BY-SA-3.0") for clip in manifest.clips)
    assert (tmp_path / "out/asterisk-en/copyright").exists()
    assert not (tmp_path / "out/.downloads").exists()
    (told,) = provenance(manifest)
    assert (told.corpus, told.speakers, told.synthetic) == ("asterisk-en", 1, False)
    assert told.source.startswith("Debian asterisk-core-sounds-en-g722 ")
    assert "Recorded by: Allison Smith" in told.attribution
