"""The benchmark between two marks of a model card."""

import pytest

from audiodiff.errors import UserError
from audiodiff.evaluation import card


def test_first_appended_then_replaced(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# A model\n\nWords.\n")
    card.put("first\n", path)
    once = path.read_text()
    assert once == f"# A model\n\nWords.\n\n{card.BEGIN}\n\nfirst\n\n{card.END}\n"
    path.write_text(once + "\nMore words.\n")
    card.put("second", path)
    assert path.read_text() == once.replace("first", "second") + "\nMore words.\n"


def test_a_missing_card_is_created(tmp_path):
    card.put("text", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == f"{card.BEGIN}\n\ntext\n\n{card.END}\n"


@pytest.mark.parametrize("broken", [card.BEGIN, card.END, f"{card.END}\n{card.BEGIN}"])
def test_broken_marks_are_refused_and_the_card_is_unchanged(tmp_path, broken):
    path = tmp_path / "README.md"
    path.write_text(broken)
    with pytest.raises(UserError, match="audiodiff"):
        card.put("text", path)
    assert path.read_text() == broken
