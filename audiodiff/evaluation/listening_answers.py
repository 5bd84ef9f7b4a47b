"""Results of a listening test: its answers against its key, with binomial intervals.

For each pair of systems: how often X was identified, which is half the time by guessing (exact binomial test, one
sided), and how often either was preferred among the answers with a preference (two sided). Intervals are Clopper and
Pearson's exact ones at 95 %. They count answers as independent, and are too narrow if few listeners give many.
"""

import csv
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from audiodiff.errors import UserError, first_line
from audiodiff.evaluation.listening_kit import FORMAT, KEY, Trial
from audiodiff.files import write_text

COLUMNS = ("kit", "listener", "trial", "x", "preference", "seconds")
RESULT_PAGE, RESULT_TABLE = "result.html", "result.md"
_CHOICES = {"x": ("a", "b", ""), "preference": ("a", "b", "same")}


@dataclass(frozen=True)
class Share:
    """`hits` of `count` answers, with the exact 95 % interval of their share and the p-value against one half."""

    hits: int
    count: int
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, hits: int, count: int, alternative: str) -> "Share":
        """Compute interval and p-value; an interval of everything if there is no answer."""
        if not count:
            return cls(0, 0, 0.0, 1.0, 1.0)
        test = binomtest(hits, count, 0.5, alternative)
        low, high = binomtest(hits, count, 0.5).proportion_ci(0.95, "exact")
        return cls(hits, count, float(low), float(high), float(test.pvalue))

    def __str__(self) -> str:
        """Such as "12 of 20 (60 %, 36 to 81 %), p = 0.25"."""
        if not self.count:
            return "–"
        share, low, high = (f"{100 * value:.0f}" for value in (self.hits / self.count, self.low, self.high))
        return f"{self.hits} of {self.count} ({share} %, {low} to {high} %), p = {self.p:.2g}"


@dataclass(frozen=True)
class PairResult:
    """Two systems: X identified, the first preferred to the second, and answers without a preference."""

    first: str
    second: str
    identified: Share
    preferred: Share
    ties: int


def read_key(folder: Path) -> tuple[str, dict[str, Trial]]:
    """The kit's id and its trials by id.

    Raises:
        UserError: no key, or a damaged one.
    """
    path = folder / KEY
    if not path.is_file():
        raise UserError(path, "no such file", "give the --out folder that the test was written to")
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
        if key["format"] != FORMAT:
            raise ValueError(f"format {key['format']!r:.40}")
        trials = [Trial(**{**trial, "files": tuple(trial["files"])}) for trial in key["trials"]]
        return str(key["kit"]), {trial.id: trial for trial in trials}
    except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise UserError(path, f"is not the key of a listening test ({first_line(error)})", "restore it") from error


def read_answers(path: Path, kit: str, trials: dict[str, Trial]) -> list[dict[str, str]]:
    """The rows of one file of answers.

    Raises:
        UserError: it cannot be read, lacks a column, is of another test, or has a trial or an answer that do not exist.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(path, f"cannot be read ({reason})", "give CSV files of the page") from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise UserError(path, f"has no column {', '.join(missing)}", "give CSV files of the page")
    for number, row in enumerate(rows, start=2):
        problem = ""
        if row["kit"] != kit:
            problem = "is an answer to another test"
        elif row["trial"] not in trials:
            problem = f"trial {row['trial']!r:.40} is not in the key"
        elif bad := [name for name, choices in _CHOICES.items() if row[name] not in choices]:
            problem = f"{bad[0]} {row[bad[0]]!r:.40} is none of {', '.join(filter(None, _CHOICES[bad[0]]))}"
        if problem:
            raise UserError(f"{path}, line {number}", problem, "give CSV files of this test's page, unchanged")
    return rows


def score(folder: Path, paths: Sequence[Path]) -> tuple[list[PairResult], int]:
    """Results of each pair of systems, and the number of listeners.

    Raises:
        UserError: as `read_key` and `read_answers`, no answers, or two of a listener to one trial.
    """
    kit, trials = read_key(folder)
    given: dict[tuple[str, str], tuple[Path, dict[str, str]]] = {}
    for path in paths:
        for row in read_answers(path, kit, trials):
            who = row["listener"] or str(path), row["trial"]
            if who in given:
                problem = f"{who[0]} answers a trial twice (also in {given[who][0]})"
                raise UserError(path, problem, "give each file once, and each listener a name of their own")
            given[who] = path, row
    if not given:
        raise UserError("answers", "there are none", "give CSV files of the page")
    tally: dict[tuple[str, str], list[int]] = {}
    for _, row in given.values():
        trial = trials[row["trial"]]
        first, second = sorted((trial.a, trial.b))
        counts = tally.setdefault((first, second), [0, 0, 0, 0, 0])
        if trial.x and row["x"]:
            counts[0] += row["x"] == trial.x
            counts[1] += 1
        if row["preference"] == "same":
            counts[4] += 1
        else:
            counts[2] += {"a": trial.a, "b": trial.b}[row["preference"]] == first
            counts[3] += 1
    results = [
        PairResult(*pair, Share.of(right, asked, "greater"), Share.of(wins, compared, "two-sided"), ties)
        for pair, (right, asked, wins, compared, ties) in sorted(tally.items())
    ]
    return results, len({listener for listener, _ in given})


def cells(results: Sequence[PairResult]) -> list[list[str]]:
    """Headings and rows of the table."""
    heads = ["Pair", "X identified", "First preferred to second", "No preference"]
    rows = [[f"{one.first} – {one.second}", str(one.identified), str(one.preferred), str(one.ties)] for one in results]
    return [heads, *rows]


def write_results(folder: Path, paths: Sequence[Path]) -> str:
    """Score answers and write `result.html` and `result.md` beside the key; the table as Markdown.

    Raises:
        UserError: as `score`, or the folder cannot be written.
    """
    results, listeners = score(folder, paths)
    heads, *rows = cells(results)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *escaped])
    note = (
        f"{listeners} listeners. Shares with exact 95 % binomial intervals; p against one half: guessing, or no "
        "preference. Answers count as independent, so intervals are too narrow if few listeners give many."
    )
    write_text(folder / RESULT_TABLE, f"{table}\n\n{note}\n")
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Listening test</title>'
        f"<style>{style}</style><main><h1>Listening test</h1><p>{html.escape(note)}</p>"
        f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></main>'
    )
    write_text(folder / RESULT_PAGE, page)
    return f"{table}\n\n{note}"
