"""Tables beside recordings, metadata.csv and labels.csv: matches lines with recordings.

Delimiter (`|`, tab, `;` or `,`) and column of names are those that match most recordings. A name may have a suffix or
folders or not: `wavs/a.wav`, `a.wav` and `a` are the same if there is only one. With `;` and `,` cells may be quoted.
"""

import csv
import logging
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from audiodiff.errors import UserError

_log = logging.getLogger(__name__)
_DELIMITERS = ("|", "\t", ";", ",")
_QUOTED = (";", ",")
_NAME_COLUMNS = 3  # columns that may hold the names
_HEADING = re.compile(r"(audio|wav|clip|sound)?[ _-]?(file)?[ _-]?(name|path|file|id|audio|wav|clip)", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z]\w{1,4}$")


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        number: line number, from 1.
        name: cell that names a recording.
        cells: the other cells, stripped.
        keys: keys of the matching recordings; empty if there is none.
    """

    number: int
    name: str
    cells: list[str]
    keys: list[str]


@dataclass(frozen=True)
class Table:
    """The lines of a table, matched with recordings.

    Attributes:
        path: its file.
        lines: all but the heading and empty lines.
        heading: names of the columns of `Line.cells`; empty if there is no heading.
        delimiter: between cells.
        recordings: number of recordings.
    """

    path: Path
    lines: list[Line]
    heading: list[str]
    delimiter: str
    recordings: int

    @classmethod
    def read(cls, path: Path, files: Mapping[str, Path], form: str) -> "Table":
        """Read a table.

        Args:
            path: its file; names are relative to its folder.
            files: the recordings' files by key.
            form: format of a line, for errors.

        Raises:
            UserError: it cannot be read, a line names nothing, or no line names a recording.
        """
        lines = _lines(path)
        index = _Index(files, path.parent)
        choices = []
        for delimiter in _DELIMITERS:
            rows = [(number, _cells(line, delimiter)) for number, line in lines]
            rows = [(number, cells) for number, cells in rows if any(cells)]
            several = sum(len(cells) > 1 for _, cells in rows)
            for column in range(_NAME_COLUMNS):
                # Count recordings, not lines: a label that happens to be a recording's name repeats.
                named = len({key for _, cells in rows if len(cells) > column for key in index[cells[column]]})
                choices.append(((named, several, -column), delimiter, column, rows))
        (named, *_), delimiter, column, rows = max(choices, key=lambda choice: choice[0])
        first = rows[0][1] if rows else []
        heading = [] if len(first) <= column or index[first[column]] or not _HEADING.fullmatch(first[column]) else first
        found = []
        for number, cells in rows[bool(heading) :]:
            name = cells.pop(column) if len(cells) > column else ""
            if not name:
                raise UserError(f"{path}, line {number}", f"column {column + 1} names no file", f"write {form}")
            found.append(Line(number, name, cells, index[name]))
        if found and not named:
            problem = f"names none of the {len(files)} recordings there (line {found[0].number}: {found[0].name!r})"
            raise UserError(path, problem, f"it should hold lines {form}")
        return cls(path, found, heading[:column] + heading[column + 1 :], delimiter, len(files))

    @property
    def unmatched(self) -> list[Line]:
        """Lines that match no recording."""
        return [line for line in self.lines if not line.keys]

    def report(self) -> None:
        """Log how many lines match how many recordings.

        Warns:
            UserWarning: some match none.
        """
        named, unmatched = {key for line in self.lines for key in line.keys}, self.unmatched
        count = f"{len(self.lines) - len(unmatched)} of {len(self.lines)} lines match {len(named)} of {self.recordings}"
        if unmatched:
            problem = f"line {unmatched[0].number} names {unmatched[0].name!r}, which is no audio there"
            left_out = f"({len(unmatched)} such line{'s are' if len(unmatched) > 1 else ' is'} left out)"
            warnings.warn(f"{self.path}: {problem} {left_out}; {count} recordings", stacklevel=3)
        else:
            _log.info("%s: %s recordings", self.path.name, count)


class _Index:
    """Keys of recordings by the names that a table may use."""

    def __init__(self, files: Mapping[str, Path], root: Path):
        self.whole: dict[str, dict[str, None]] = defaultdict(dict)
        self.ends: dict[str, dict[str, None]] = defaultdict(dict)
        for key, path in files.items():
            relative = path.relative_to(root) if path.is_relative_to(root) else path
            for form in {key, relative.as_posix(), relative.with_suffix("").as_posix()}:
                self.whole[_normalized(form)][key] = None
                for end in _ends(_normalized(form)):
                    self.ends[end][key] = None

    def __getitem__(self, name: str) -> list[str]:
        """Keys of recordings with this name, else whose path ends with it, else whose path it ends with."""
        name = _normalized(name)
        forms = (name, _SUFFIX.sub("", name))
        for names, index in ((forms, self.whole), (forms, self.ends), (_ends(forms[1]), self.whole)):
            for one in names:
                if one in index:
                    return list(index[one])
        return []


def _normalized(name: str) -> str:
    """A name in Unicode form NFC (file systems differ), with forward slashes and without `./`."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def _ends(name: str) -> Sequence[str]:
    parts = name.split("/")
    return ["/".join(parts[first:]) for first in range(1, len(parts))]


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(path, "no such file", "check the path") from None
    except (UnicodeDecodeError, OSError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(path, f"cannot be read as UTF-8 ({reason})", "save it as UTF-8") from error
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _cells(line: str, delimiter: str) -> list[str]:
    cells = line.split(delimiter)
    if delimiter in _QUOTED:
        with suppress(csv.Error):  # a cell above the size limit
            cells = next(csv.reader([line], delimiter=delimiter), [])
    return [cell.strip() for cell in cells]
