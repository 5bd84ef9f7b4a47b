"""Names of files, of a template: `{speaker}/{number:05d}-{name}`.

A template's fields are `name`, the row's own name; `number`, its place in the run from 1 on; and what else the type of
row has, such as options.
"""

from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any, TypeVar

from audiodiff.errors import UserError, did_you_mean
from audiodiff.files import is_safe_relative_path

RowT = TypeVar("RowT")
OWN = "{name}"


def fill(template: str, fields: Mapping[str, Any]) -> str:
    """The name of a file, with / for folders.

    Args:
        template: text with fields in braces, each with a format at most, such as {number:05d}.
        fields: their values by name.

    Raises:
        UserError: an unknown field, a format that does not fit, or a name that leads out of the output folder.
    """
    subject = f"name {template!r:.80}"
    try:
        wanted = [field for _, field, *_ in Formatter().parse(template) if field is not None]
        for field in wanted:
            if field not in fields:
                fix = did_you_mean(field, fields, f"use {', '.join(f'{{{known}}}' for known in fields)}")
                raise UserError(subject, f"has no field {{{field}}}", fix)
        name = template.format_map(fields)
    except (ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(subject, f"cannot be filled in ({error})", "write it as {name}-{number:05d}") from error
    if not is_safe_relative_path(name) or name.endswith("/"):
        raise UserError(subject, f"makes {name!r:.80}, no name of a file in the output folder", "change the template")
    return name


def name_rows(
    rows: Iterable[RowT],
    template: str,
    fields: Callable[[RowT], Mapping[str, Any]],
    rename: Callable[[RowT, str], RowT],
    place: Callable[[RowT], str],
) -> list[RowT]:
    """Rows with the names of their files.

    Args:
        rows: in order.
        template: as of `fill`.
        fields: of a row, with its `name`.
        rename: the row with another name.
        place: where it stands, for errors.

    Raises:
        UserError: as `fill`, or two rows with one name.
    """
    if template == OWN:
        return list(rows)
    named: list[RowT] = []
    places: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        name = fill(template, {"number": number, **fields(row)})
        if name in places:
            problem = f"makes {name!r:.80} of {places[name]} and of {place(row)}"
            raise UserError(f"name {template!r:.80}", problem, "add {name} or {number}")
        places[name] = place(row)
        named.append(rename(row, name))
    return named
