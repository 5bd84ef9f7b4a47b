"""Tables of what to render: a row of CSV, TSV or JSONL each, or a line of plain text.

The columns are a few words, such as `text` and `name`, and the options of a model by their names or flags. Empty cells
leave an option as it is for all rows. Several values of one option are separated by "; " in a cell, and a list in
JSONL. Audio files and models are paths relative to the table.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from audiodiff.audio.io import Audio, read
from audiodiff.conditioners.registry import OPTIONS as CONDITIONS
from audiodiff.data.manifest import LABEL_SEPARATOR
from audiodiff.errors import UserError, did_you_mean
from audiodiff.files import is_safe_relative_path
from audiodiff.options import Option, options_of
from audiodiff.remote import beside, errors_of, exists, is_file, is_remote, local_copy

EXTENSIONS = (".txt", ".csv", ".tsv", ".jsonl")
_NUMBERS = {"number": float, "integer": int}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class TableRow(NamedTuple):
    """A row: its words and options, by name, without empty ones, and file and line number for errors."""

    words: Mapping[str, str]
    options: Mapping[str, object]
    place: str


class Columns:
    """The columns that a table may have.

    Args:
        config: dataclass of options.
        words: columns that are no options.
        line: the column that the lines of a plain text stand for.
        required: the column that no table lacks.
    """

    def __init__(self, config: type, *words: str, line: str, required: str | None = None):
        names = {field.name for field in fields(config)}
        self.options = {**options_of(config), **(CONDITIONS if "conditions" in names else {})}
        self.words, self.line, self.required = words, line, required
        flags = {self._column(option.flag_for(name)): name for name, option in self.options.items()}
        self.names = {**flags, **{name: name for name in (*words, *self.options)}}

    @staticmethod
    def _column(flag: str) -> str:
        return flag.removeprefix("--").replace("-", "_")

    def check(self, column: object, subject: str) -> str:
        """The name of a column's word or option.

        Raises:
            UserError: there is none.
        """
        if column not in self.names:
            known = (*self.words, *self.options)
            fix = did_you_mean(str(column), known, f"the columns are {', '.join(known)}")
            raise UserError(f"{subject}, column {column!r:.60}", "unknown", fix)
        return self.names[column]

    def row(self, cells: Mapping[str, object], folder: Path, place: str) -> TableRow:
        """A row of cells by name; text is converted.

        Raises:
            UserError: a cell does not fit its column.
        """
        given = {name: cell for name, cell in cells.items() if cell not in (None, "", [])}
        words = {name: given.pop(name) for name in self.words if name in given}
        for name, word in words.items():
            if not isinstance(word, str):
                raise UserError(f"{place}, {name} {word!r:.60}", "expected text", "write it in quotes")
        options = {name: _value(self.options[name], name, cell, folder, place) for name, cell in given.items()}
        return TableRow(words, options, place)


def read_table(path: Path, columns: Columns) -> Iterator[TableRow]:
    """The rows of a file, in order; lines that are empty are left out.

    Raises:
        UserError: it cannot be read, is of another type, or has a column or cell that does not fit.
    """
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise UserError(path, "is no list of texts", f"give one of {' '.join(EXTENSIONS)}")
    content = _read(path)
    if suffix == ".txt":
        for number, line in enumerate(content.splitlines(), 1):
            if line.strip():
                yield columns.row({columns.line: line.strip()}, path.parent, f"{path}, line {number}")
    elif suffix == ".jsonl":
        yield from _objects(content, path, columns)
    else:
        yield from _cells(content, path, columns)


def is_manifest(path: Path) -> bool:
    """Whether a file is JSONL that begins as a manifest does."""
    if path.suffix.lower() != ".jsonl":
        return False
    try:
        with path.open("rb") as file:
            return '"manifest"' in file.readline(4096).decode("utf-8-sig", "replace")
    except OSError:
        return False


def check_name(name: str, place: str) -> str:
    """A name of a row, if it is one of a file in the output folder.

    Raises:
        UserError: it is not.
    """
    if name and not is_safe_relative_path(name):
        subject = f"{place}, name {name!r:.60}"
        raise UserError(subject, "is no name of a file in the output folder", "write one such as a1")
    return name


def check_unique(places: Iterable[tuple[str, str]]) -> None:
    """Check that names differ.

    Args:
        places: names, and where they stand.

    Raises:
        UserError: two are the same.
    """
    found: dict[str, str] = {}
    for name, place in places:
        if found.setdefault(name, place) != place:
            raise UserError(
                place, f"has the name {name!r}, and so has {found[name]}", "give each clip a name of its own"
            )


def load_audio(path: Path) -> Audio:
    """An audio file of a row; rows have few of them, or one each: memory does not grow with the table."""
    if is_remote(path):
        with local_copy(path) as local:
            return read(local, channels=2)
    return _load_audio(path, path.stat().st_mtime_ns if is_file(path) else 0)


@lru_cache(maxsize=8)
def _load_audio(path: Path, modified: int) -> Audio:
    return read(path, channels=2)


def _cells(content: str, path: Path, columns: Columns) -> Iterator[TableRow]:
    # Not `splitlines`, which also breaks lines at U+2028 and others that texts may contain.
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=_DELIMITERS[path.suffix.lower()])
    rows = _read_rows(reader, path)
    heading = [columns.check(cell.strip().lower(), str(path)) for cell in next(rows, [])]
    if columns.required not in (None, *heading) or len(set(heading)) < len(heading):
        lacks = f"has no column {columns.required}"
        problem = "has two columns of one name" if len(set(heading)) < len(heading) else lacks
        raise UserError(path, problem, f"begin it with a heading such as {','.join(columns.words)},seed")
    for row in rows:
        place, cells = f"{path}, line {reader.line_num}", [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(heading):
            problem = f"has {len(cells)} cells, the heading {len(heading)}"
            raise UserError(place, problem, 'quote texts with commas, "a, b"')
        yield columns.row(dict(zip(heading, cells, strict=True)), path.parent, place)


def _read_rows(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        subject, limit = f"{path}, line {reader.line_num}", csv.field_size_limit()
        raise UserError(
            subject, f"cannot be read ({error})", f"write cells above {limit} characters as JSONL"
        ) from error


def _objects(content: str, path: Path, columns: Columns) -> Iterator[TableRow]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(place, "is no JSON", 'write an object, {"text": "..."}') from error
        if not isinstance(found, dict):
            raise UserError(place, "is no JSON object", 'write one, {"text": "..."}')
        cells = {columns.check(column, place): value for column, value in found.items()}
        yield columns.row(cells, path.parent, place)


def _value(option: Option, name: str, cell: object, folder: Path, place: str) -> object:
    if option.multiple:
        cell = cell.split(LABEL_SEPARATOR.strip()) if isinstance(cell, str) else cell
        return tuple(item.strip() if isinstance(item, str) else item for item in cell) if _is_list(cell) else cell
    if option.kind in ("audio", "model"):
        if not isinstance(cell, str):
            raise UserError(f"{place}, {name} {cell!r:.60}", "expected a path", "write it in quotes")
        path = beside(folder / "table", cell)
        return path if option.kind == "audio" or exists(path) else cell
    if option.kind == "flag" and isinstance(cell, str):
        if cell.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UserError(f"{place}, {name} {cell!r:.60}", "expected true or false", "correct it, or empty the cell")
        return cell.lower() in ("true", "yes", "1")
    if not isinstance(cell, str) or option.kind not in _NUMBERS:
        return cell
    try:
        return _NUMBERS[option.kind](cell)
    except ValueError:
        kind = "a number" if option.kind == "number" else "an integer"
        subject = f"{place}, {name} {cell!r:.60}"
        raise UserError(subject, f"expected {kind}", "correct it, or empty the cell") from None


def _is_list(cell: object) -> bool:
    return isinstance(cell, list | tuple)


def _read(path: Path) -> str:
    try:
        if is_remote(path):
            with errors_of(path):
                return path.read_bytes().decode("utf-8-sig")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check the path") from error
