"""Texts and speakers of recordings, from metadata.csv.

A line is `NAME|TEXT`, `NAME|TEXT|NORMALIZED` (the last is used), or either with a column of speakers. Columns are
identified by a heading, else by their content: a column of single words beside one of longer texts holds speakers.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audiodiff.data.table import Table
from audiodiff.errors import UserError

FORM = "`NAME|TEXT`"
_SPEAKER = re.compile(r"speaker|spk|client", re.IGNORECASE)
_DECIMAL = re.compile(r"\d+[.,]\d+")
_TEXT = re.compile(r"text|transcri|sentence|normal|utterance", re.IGNORECASE)


@dataclass(frozen=True)
class Transcript:
    """Text and speaker of a recording; "" if unknown."""

    text: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class Transcripts:
    """Transcripts of recordings by key, and transcripts of names that match no recording."""

    by_key: dict[str, Transcript]
    unmatched: dict[str, Transcript]

    @classmethod
    def read(cls, path: Path, files: Mapping[str, Path]) -> "Transcripts":
        """Read metadata.csv, and log how many of its lines match.

        Args:
            path: metadata.csv.
            files: the recordings' files by key.

        Warns:
            UserWarning: some lines match no recording.

        Raises:
            UserError: as `Table.read`, or a line has no text.
        """
        table = Table.read(path, files, FORM)
        if empty := next((line for line in table.lines if not line.cells), None):
            raise UserError(f"{path}, line {empty.number}", "has no text", f"write {FORM}")
        table.report()
        rows = _rows(table)
        texts, speaker = _columns(rows, table.heading)
        by_key: dict[str, Transcript] = {}
        unmatched: dict[str, Transcript] = {}
        for line, row in zip(table.lines, rows, strict=True):
            text = next((row[column] for column in reversed(texts) if len(row) > column and row[column]), "")
            found = Transcript(text, row[speaker] if speaker is not None and len(row) > speaker else "")
            by_key |= dict.fromkeys(line.keys, found)
            if not line.keys:
                unmatched[line.name] = found
        return cls(by_key, unmatched)


def _rows(table: Table) -> list[list[str]]:
    """The cells of every line; texts that contain unquoted delimiters are joined again."""
    rows, mark = [line.cells for line in table.lines], table.delimiter
    if not rows or mark not in (";", ","):
        return rows
    widths = [len(row) for row in rows]
    width = len(table.heading) or (min(widths) if mark == "," else Counter(widths).most_common(1)[0][0])
    return [[*row[: width - 1], f"{mark} ".join(row[width - 1 :])] if len(row) > width else row for row in rows]


def _columns(rows: list[list[str]], heading: list[str]) -> tuple[list[int], int | None]:
    """The columns of texts, preferred one last, and the column of speakers."""
    named = [column for column, name in enumerate(heading) if _TEXT.search(name)]
    if named:
        named.sort(key=lambda column: "normal" in heading[column].lower())
        return named, next((column for column, name in enumerate(heading) if _SPEAKER.search(name)), None)
    columns = range(max(map(len, rows), default=0))
    words = [c for c in columns if all(len(row) > c and len(row[c].split()) == 1 for row in rows)]
    texts = [column for column in columns if column not in words][:2]
    if not texts:
        return list(columns[:2]), None
    speakers = [c for c in words if not any(_DECIMAL.fullmatch(row[c]) for row in rows)]  # not durations or scores
    repeats = [c for c in speakers if len({row[c] for row in rows}) < len(rows)]
    return texts, next((c for c in speakers if c > texts[0] or c in repeats), None)
