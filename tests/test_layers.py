"""The house stands as docs/architecture.md says."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "audiodiff").rglob("*.py"))
# Names under which anything can be put away.
DRAWERS = {"util", "utils", "common", "base", "helper", "helpers", "misc"}


def test_import_contracts_are_kept():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 2 kept, 0 broken" in done.stdout


def test_every_room_has_a_floor():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    rooms = {f"audiodiff.{path.relative_to(ROOT / 'audiodiff').with_suffix('').parts[0]}" for path in FILES}
    assert rooms - floors <= {"audiodiff.__init__", "audiodiff.__main__"}


def test_every_floor_is_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text()
    missing = [path.parent.name for path in FILES if path.name == "__init__.py" and f"`{path.parent.name}" not in page]
    assert not missing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_nouns_of_a_readable_size(path):
    text = path.read_text()
    assert path.stem not in DRAWERS
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 50, f"{node.name} is too long to read at once"
