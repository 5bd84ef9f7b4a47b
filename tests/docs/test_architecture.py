"""The pictures of `docs/architecture.md` are those that their script draws."""

import importlib.util
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
drawing = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(drawing)


@pytest.mark.parametrize("name", drawing.PICTURES)
def test_committed_picture_is_current(name):
    committed = (drawing.IMAGES / name).read_text(encoding="utf-8")
    assert committed == drawing.PICTURES[name](), "run: python docs/draw_architecture.py"
    assert name in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_picture_names_every_layer_and_keeps_text_inside():
    image = ElementTree.fromstring(drawing.draw_layers())
    texts = list(image.iter("{http://www.w3.org/2000/svg}text"))
    names = {node.text for node in texts if node.get("class") == "name"}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {part.strip().removeprefix("audiodiff.") for row in contracts[0]["layers"] for part in row.split("|")}
    assert names == layers
    width, height = float(image.get("width")), float(image.get("height"))
    for node in texts:
        letter = drawing.LETTERS.get(node.get("class"), drawing.LETTERS["text"])[0]
        assert float(node.get("x")) + len(node.text) * letter < width
        assert float(node.get("y")) < height
