"""Update the benchmark in a model card: the text between two marks is replaced, the rest stays as it is."""

from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.files import write_text

BEGIN, END = "<!-- audiodiff curve: begin -->", "<!-- audiodiff curve: end -->"


def put(text: str, card: Path) -> None:
    """Replace the text between the marks of `card`; append both to a card without marks.

    Raises:
        UserError: only one mark, marks in the wrong order, or a card that cannot be read.
    """
    try:
        old = card.read_text(encoding="utf-8") if card.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(card, f"cannot be read ({error})", "fix or delete it") from error
    marked = f"{BEGIN}\n\n{text.strip()}\n\n{END}"
    if BEGIN not in old and END not in old:
        write_text(card, f"{old.rstrip()}\n\n{marked}\n".lstrip())
        return
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(
            card, f"needs both {BEGIN} and {END}, in this order", "add the missing mark or delete the other"
        )
    write_text(card, before + marked + after)
