"""The site has every page, and each link of it leads somewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import audiodiff

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site():
    """The hooks."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    outside = re.findall(r'(?:src|<link[^>]*href)="(https?://[^"]+)', (tmp_path / "site" / "index.html").read_text())
    assert not outside  # nothing is loaded from another host


def test_a_page_that_nobody_finds_is_noticed():
    named = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= named and all((ROOT / name).is_file() for name in named)


def test_the_reference_has_everything_that_is_exported():
    text = (ROOT / "docs" / "reference.md").read_text()
    assert set(re.findall(r"^::: [\w.]+\.(\w+)$", text, re.MULTILINE)) == set(audiodiff.__all__) - {"__version__"}


def test_linked_files_are_found_one_after_the_other(site, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "README.md").write_text("[a](recipes) [b](https://example.org/x.md) ```[c](gone.md)``` [d](../out.md)")
    (tmp_path / "recipes" / "README.md").write_text("![p](plot.png) [back](../README.md#top)")
    (tmp_path / "recipes" / "plot.png").write_bytes(b"")
    found = site.linked_files([tmp_path / "README.md"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "README.md",
        "recipes/README.md",
        "recipes/plot.png",
    ]


def test_a_wrong_link_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "site.py").write_text((ROOT / "docs" / "site.py").read_text())
    (tmp_path / "README.md").write_text("# Start\n\n[gone](docs/gone.md)\n")
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text()) | {
        "nav": [{"Start": "README.md"}],
        "plugins": [],
        "watch": [],
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "docs/gone.md" in done.stdout + done.stderr
