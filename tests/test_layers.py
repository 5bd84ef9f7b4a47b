"""The package is laid out as docs/architecture.md says: layers, file sizes, names."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "audiodiff").rglob("*.py"))
# Names that say nothing about a file's content.
MEANINGLESS = {"util", "utils", "common", "base", "helper", "helpers", "misc"}


def test_import_contracts_are_kept():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout)


def test_every_package_is_in_a_layer():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    packages = {f"audiodiff.{path.relative_to(ROOT / 'audiodiff').with_suffix('').parts[0]}" for path in FILES}
    assert packages - layers <= {"audiodiff.__init__", "audiodiff.__main__"}


def test_every_package_is_in_docs_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text()
    missing = [path.parent.name for path in FILES if path.name == "__init__.py" and f"`{path.parent.name}" not in page]
    assert not missing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_nouns_of_a_readable_size(path):
    text = path.read_text()
    assert path.stem not in MEANINGLESS
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 50, f"{node.name} has 50 lines or more"
