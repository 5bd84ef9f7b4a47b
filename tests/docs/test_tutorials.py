"""The tutorials: notebooks are written from them, and every block of them runs, in order, in an empty folder."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
# Minutes of training become some steps; everything else runs as it stands.
SHORT = "trainer.max_steps=4 trainer.val_check_interval=4 trainer.max_time=null callbacks.samples.clips=1 logger=null"


def script():
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebooks_are_those_of_the_tutorials():
    found = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")}
    assert found == script().files()
    for text in found.values():
        nbformat.validate(nbformat.reads(text, as_version=4))


def test_prose_and_code_are_cells_in_their_order():
    text = "# Title\n\n```bash\nls\n```\nthen\n```text\nnot run\n```\n\n```python\nx = 1\n\ny = 2\n```\n"
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in script().notebook(text)["cells"]]
    assert cells == [
        ("markdown", "# Title"),
        ("code", "%%bash -e\nls"),
        ("markdown", "then\n```text\nnot run\n```"),
        ("code", "x = 1\n\ny = 2"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs(page, tmp_path, monkeypatch):
    text = re.sub(r"trainer\.max_time=\S+( trainer\.val_check_interval=\d+)?", SHORT, page.read_text(encoding="utf-8"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.reads(json.dumps(script().notebook(text)), as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert ": False" not in printed  # what a tutorial claims of its results, it prints
