"""Update a part of a model card: the text between two marks is replaced, the rest stays as it is."""

from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.files import write_text

BENCHMARK, COMPRESSION = "curve", "compression"  # the parts


def marks(part: str) -> tuple[str, str]:
    """What stands before and behind a part."""
    return f"<!-- audiodiff {part}: begin -->", f"<!-- audiodiff {part}: end -->"


def get(part: str, text: str) -> str:
    """A part of a card's text; empty without one."""
    begin, end = marks(part)
    found, end, _ = text.partition(begin)[2].partition(end)
    return found.strip() if end else ""


def put(text: str, card: Path, part: str = BENCHMARK) -> None:
    """Replace a part of `card`; append it to a card without one.

    Raises:
        UserError: only one mark, marks in the wrong order, or a card that cannot be read.
    """
    try:
        old = card.read_text(encoding="utf-8") if card.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(card, f"cannot be read ({error})", "fix or delete it") from error
    first, last = marks(part)
    marked = f"{first}\n\n{text.strip()}\n\n{last}"
    if first not in old and last not in old:
        write_text(card, f"{old.rstrip()}\n\n{marked}\n".lstrip())
        return
    before, begin, rest = old.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise UserError(
            card, f"needs both {first} and {last}, in this order", "add the missing mark or delete the other"
        )
    write_text(card, before + marked + after)
