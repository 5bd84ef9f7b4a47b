"""Update a part of a model card: the text between two marks is replaced, the rest stays as it is."""

from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.files import write_text

# The parts.
BENCHMARK, COMPRESSION, SETTINGS, GUIDANCE, RESULTS = "curve", "compression", "settings", "guidance", "results"


def marks(part: str) -> tuple[str, str]:
    """What stands before and behind a part."""
    return f"<!-- audiodiff {part}: begin -->", f"<!-- audiodiff {part}: end -->"


def get(part: str, text: str) -> str:
    """A part of a card's text; empty without one."""
    begin, end = marks(part)
    found, end, _ = text.partition(begin)[2].partition(end)
    return found.strip() if end else ""


def put(text: str, card: Path, part: str = BENCHMARK) -> None:
    """Replace a part of the file `card`, as `insert` does.

    Raises:
        UserError: a card that cannot be read, or as `insert`.
    """
    try:
        old = card.read_text(encoding="utf-8") if card.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(card, f"cannot be read ({error})", "fix or delete it") from error
    write_text(card, insert(text, old, card, part))


def marked(text: str, part: str) -> str:
    """A part with its marks."""
    first, last = marks(part)
    return f"{first}\n\n{text.strip()}\n\n{last}"


def insert(text: str, old: str, card: Path, part: str) -> str:
    """The text of a card with a part replaced, or appended if it has none.

    Args:
        text: the new part.
        old: text of the card.
        card: its file, which errors name.
        part: which one.

    Raises:
        UserError: only one mark, or marks in the wrong order.
    """
    first, last = marks(part)
    if first not in old and last not in old:
        return f"{old.rstrip()}\n\n{marked(text, part)}\n".lstrip()
    before, begin, rest = old.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise UserError(
            card, f"needs both {first} and {last}, in this order", "add the missing mark or delete the other"
        )
    return before + marked(text, part) + after
