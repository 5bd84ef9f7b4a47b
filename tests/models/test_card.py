"""Parts of a model card between two marks."""

import pytest

from audiodiff.errors import UserError
from audiodiff.models import card

BEGIN, END = card.marks(card.BENCHMARK)


def test_first_appended_then_replaced(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# A model\n\nWords.\n")
    card.put("first\n", path)
    once = path.read_text()
    assert once == f"# A model\n\nWords.\n\n{BEGIN}\n\nfirst\n\n{END}\n"
    path.write_text(once + "\nMore words.\n")
    card.put("second", path)
    assert path.read_text() == once.replace("first", "second") + "\nMore words.\n"


def test_parts_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "README.md"
    card.put("speed", path)
    card.put("size", path, card.COMPRESSION)
    card.put("more speed", path)
    parts = [card.get(part, path.read_text()) for part in (card.BENCHMARK, card.COMPRESSION)]
    assert parts == ["more speed", "size"]
    assert card.get(card.BENCHMARK, "# A card\n") == ""


def test_a_missing_card_is_created(tmp_path):
    card.put("text", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == f"{BEGIN}\n\ntext\n\n{END}\n"


@pytest.mark.parametrize("broken", [BEGIN, END, f"{END}\n{BEGIN}"])
def test_broken_marks_are_refused_and_the_card_is_unchanged(tmp_path, broken):
    path = tmp_path / "README.md"
    path.write_text(broken)
    with pytest.raises(UserError, match="audiodiff"):
        card.put("text", path)
    assert path.read_text() == broken
