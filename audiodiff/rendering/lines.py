"""Texts to speak in bulk: plain text with a clip a line, or a table with a clip a row.

A plain text (`.txt`) is one clip a line, empty lines are left out: a book whose paragraphs are lines becomes a clip a
paragraph. A table (`.csv`, `.tsv`) has a heading with a column `text`; the other columns are options of its rows, and
empty cells leave an option as it is for all. A `reference` is a path relative to the table; in its row it takes the
place of a speaker that is stated for all, and the other way around. Clips without a `name` are named by their number,
over all files: 0001, 0002 and so on.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from audiodiff.audio.io import Audio, read
from audiodiff.errors import UserError, did_you_mean
from audiodiff.files import is_safe_relative_path
from audiodiff.options import Option, options_of
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.seeds import clip_seeds

EXTENSIONS = (".txt", ".csv", ".tsv")
_NUMBERS = {"number": float, "integer": int}


@dataclass(frozen=True)
class TextLine:
    """One text to speak.

    Attributes:
        text: to speak.
        name: of the clip, relative to the output folder, without suffix; empty: its number.
        options: of the line, by name, in place of those of all lines; a reference as its path.
        place: file and line number, for errors.
    """

    text: str
    name: str
    options: Mapping[str, object]
    place: str

    def merge(self, options: SpeechOptions) -> SpeechOptions:
        """The options that the line is spoken with.

        A seed of the line is the seed of `SpeechSynthesizer.say`; one of all lines stands for a series, whose clips are
        named (`pipelines.seeds`).

        Raises:
            UserError: an option of the line is out of range, or its reference cannot be read.
        """
        own: dict[str, object] = {"seed": clip_seeds(options.seed, [self.name])[0]}
        if "speaker" in self.options or "reference" in self.options:
            own |= {"speaker": None, "reference": None}
        own |= self.options
        try:
            if isinstance(path := own.get("reference"), Path):
                own["reference"] = _read_clip(path, path.stat().st_mtime_ns if path.is_file() else 0)
            return replace(options, **own)
        except UserError as error:
            raise UserError(f"{self.place}, {error.subject}", error.problem, error.fix) from error


def read_lines(paths: Iterable[Path]) -> list[TextLine]:
    """The texts of files, in order, named.

    Raises:
        UserError: a file cannot be read, is of another type, has a row or column that does not fit, or holds no text;
            or two lines have one name.
    """
    lines: list[TextLine] = []
    for path in paths:
        found = list(_table(path) if path.suffix.lower() != ".txt" else _plain(path))
        if not found:
            raise UserError(path, "holds no text", "write a text a line")
        lines += found
    named = [line if line.name else replace(line, name=f"{number:04d}") for number, line in enumerate(lines, 1)]
    places: dict[str, str] = {}
    for line in named:
        if places.setdefault(line.name, line.place) != line.place:
            problem = f"has the name {line.name!r}, and so has {places[line.name]}"
            raise UserError(line.place, problem, "give each clip a name of its own")
    return named


def _plain(path: Path) -> Iterator[TextLine]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        if line.strip():
            yield TextLine(line.strip(), "", {}, f"{path}, line {number}")


def _table(path: Path) -> Iterator[TextLine]:
    options = {name: option for name, option in options_of(SpeechOptions).items() if not option.multiple}
    reader = csv.reader(_read(path).splitlines(keepends=True), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    heading = [cell.strip().lower() for cell in next(reader, [])]
    known = ("text", "name", *options)
    for column in heading:
        if column not in known:
            fix = did_you_mean(column, known, f"the columns are {', '.join(known)}")
            raise UserError(f"{path}, column {column!r:.60}", "unknown", fix)
    if "text" not in heading or len(set(heading)) < len(heading):
        problem = "has no column text" if "text" not in heading else "has two columns of one name"
        raise UserError(path, problem, "begin it with a heading such as text,name,speaker,rate")
    for row in reader:
        place, cells = f"{path}, line {reader.line_num}", [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(heading):
            raise UserError(
                place, f"has {len(cells)} cells, the heading {len(heading)}", 'quote texts with commas, "a, b"'
            )
        yield _row(dict(zip(heading, cells, strict=True)), options, path.parent, place)


def _row(cells: dict[str, str], options: Mapping[str, Option], folder: Path, place: str) -> TextLine:
    text, name = cells.pop("text"), cells.pop("name", "")
    if not text:
        raise UserError(place, "has no text", "write one, or remove the line")
    if name and not is_safe_relative_path(name):
        raise UserError(
            f"{place}, name {name!r:.60}", "is no name of a file in the output folder", "write one such as a1"
        )
    values = {column: _value(options[column], column, cell, place) for column, cell in cells.items() if cell}
    if "reference" in values:
        values["reference"] = folder / cells["reference"]
    return TextLine(text, name, values, place)


def _value(option: Option, column: str, cell: str, place: str) -> object:
    try:
        return _NUMBERS.get(option.kind, str)(cell)
    except ValueError:
        kind = "a number" if option.kind == "number" else "an integer"
        raise UserError(
            f"{place}, {column} {cell!r:.60}", f"expected {kind}", "correct it, or empty the cell"
        ) from None


@lru_cache(maxsize=8)  # lines have few references, or one each: memory does not grow with the table
def _read_clip(path: Path, modified: int) -> Audio:
    return read(path, channels=2)


def _read(path: Path) -> str:
    if path.suffix.lower() not in EXTENSIONS:
        raise UserError(path, "is no list of texts", f"give one of {' '.join(EXTENSIONS)}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check the path") from error
