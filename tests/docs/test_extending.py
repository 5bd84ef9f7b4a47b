"""The code on `docs/extending.md` runs, section by section, in the order of the page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def code_of(section: str) -> str:
    return "\n".join(BLOCK.findall(SECTIONS[section]))


@pytest.mark.parametrize("section", [name for name in SECTIONS if code_of(name)])
def test_section_runs(section, tmp_path):
    # In a process of its own: sections add to tables of the package.
    done = subprocess.run([sys.executable, "-c", code_of(section)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["sampler", "condition", "metric", "corpus", "task", "recipe"])
def test_page_has_a_section(kind):
    assert f"A {kind}" in SECTIONS
