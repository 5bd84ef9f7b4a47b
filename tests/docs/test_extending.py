"""The code on `docs/extending.md` runs, section by section, in the order of the page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from audiodiff import config, schema
from audiodiff.files import write_text

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def code_of(section: str) -> str:
    return "\n".join(BLOCK.findall(SECTIONS[section]))


def test_code_runs(tmp_path):
    """In one process of its own, since sections add to the package's tables."""
    script = "\n".join(f"exec(compile({code_of(name)!r}, {name!r}, 'exec'), {{}})" for name in SECTIONS)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_recipe_composes(tmp_path, monkeypatch):
    (recipe,) = re.findall(r"^```yaml\n(.*?)^```", SECTIONS["A recipe"], re.DOTALL | re.MULTILINE)
    name = yaml.safe_load(recipe)["name"]
    write_text(tmp_path / name / "recipe.yaml", recipe)
    monkeypatch.setenv("AUDIODIFF_RECIPES", str(tmp_path))
    composed = config.compose([f"+recipe={name}", f"folder={tmp_path}"])
    assert composed.name == name and f"`{name}/recipe.yaml`" in SECTIONS["A recipe"]
    schema.check(composed)


@pytest.mark.parametrize("kind", ["sampler", "condition", "metric", "corpus", "language", "voice", "task", "recipe"])
def test_page_has_a_section(kind):
    assert f"A {kind}" in SECTIONS
