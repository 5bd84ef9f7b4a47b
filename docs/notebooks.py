"""The tutorials as notebooks.

`python docs/notebooks.py` writes `docs/notebooks/NAME.ipynb` from `docs/tutorials/NAME.md`: prose as it is, each block
of Python as a cell, each block of commands as a cell of the shell. A test compares the committed files with what this
script writes, and another one runs them.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUTORIALS, NOTEBOOKS = ROOT / "docs" / "tutorials", ROOT / "docs" / "notebooks"
CODE = re.compile(r"^```(bash|python)\n(.*?)^```\n?", re.DOTALL | re.MULTILINE)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook(text: str) -> dict:
    """A page of Markdown as a notebook of format 4.5."""
    cells, at = [], 0
    for block in CODE.finditer(text):
        cells += [("markdown", text[at : block.start()])]
        cells += [("code", ("%%bash -e\n" if block[1] == "bash" else "") + block[2])]
        at = block.end()
    cells += [("markdown", text[at:])]
    written = [(kind, source.strip()) for kind, source in cells if source.strip()]
    return {
        "cells": [_cell(number, kind, source) for number, (kind, source) in enumerate(written)],
        "metadata": {"kernelspec": KERNEL, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(number: int, kind: str, source: str) -> dict:
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def files() -> dict[Path, str]:
    """The text of each notebook, by its path."""
    pages = sorted(TUTORIALS.glob("*.md"))
    notebooks = {NOTEBOOKS / f"{page.stem}.ipynb": notebook(page.read_text(encoding="utf-8")) for page in pages}
    return {path: json.dumps(found, indent=1, ensure_ascii=False) + "\n" for path, found in notebooks.items()}


def main() -> None:
    """Write all notebooks."""
    NOTEBOOKS.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
