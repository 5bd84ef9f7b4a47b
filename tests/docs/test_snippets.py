"""Python of the pages that explain and of the page on apps: it runs, in order, in an empty folder."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["app", "process"])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shared: dict = {"__name__": page}
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), shared)
    printed = capsys.readouterr().out
    if page == "app":
        assert "cancelled after two steps" in printed and "cowbell" in printed
    else:
        numbers = [float(number) for number in re.findall(r"\d+\.\d+", printed)]
        assert numbers == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8], rel=0.1)


def test_results_has_every_table_of_the_benchmarks():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(\.\./bench/results/(\w[\w.-]*\.md)\)", page))
    assert linked == {path.name for path in (ROOT / "bench" / "results").glob("*.md")}
    for script in re.findall(r"`python (bench/\w+\.py)", page):
        assert (ROOT / script).is_file(), script


@pytest.mark.slow
def test_the_pictures_are_drawn(tmp_path):
    import runpy

    drawn = runpy.run_path(str(ROOT / "docs" / "draw_explanations.py"))
    drawn["main"](tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{draw.__name__}.png" for draw in drawn["PICTURES"]}
    committed = {path.name for path in (ROOT / "docs" / "images").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} <= committed
