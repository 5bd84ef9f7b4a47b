"""A text that a program keeps up in a model card: between two marks, replaced as a whole, all else left as it is."""

from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.files import write_text

BEGIN, END = "<!-- audiodiff curve: begin -->", "<!-- audiodiff curve: end -->"


def put(text: str, card: Path) -> None:
    """Put `text` between the marks of `card`; at its end where it has none.

    Raises:
        UserError: one mark without the other, the second before the first, or a card that cannot be read.
    """
    try:
        old = card.read_text(encoding="utf-8") if card.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(card, f"cannot be read ({error})", "mend or remove it") from error
    marked = f"{BEGIN}\n\n{text.strip()}\n\n{END}"
    if BEGIN not in old and END not in old:
        write_text(card, f"{old.rstrip()}\n\n{marked}\n".lstrip())
        return
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(card, f"has not both {BEGIN} and {END}, in this order", "remove what is left of them")
    write_text(card, before + marked + after)
