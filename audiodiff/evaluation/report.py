"""Reports of evaluations, written as JSON, Markdown and HTML.

`report.json` has all results, `report.md` the tables, `report.html` also intervals drawn to scale and audio examples,
in a single file without external resources. `clips/` has the examples as files, for some evaluations.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from audiodiff.audio.io import Audio
from audiodiff.audio.io import write as write_audio
from audiodiff.errors import UserError
from audiodiff.evaluation.statistics import Interval
from audiodiff.files import write_texts

DISCLAIMER = "Objective metrics only; no listening test."
# One player at a time.
SCRIPT = """
document.addEventListener("play", event => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);
"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the value.
        notes: small print below it; in Markdown the first note follows in parentheses.
        interval: drawn in HTML, on a scale shared by the column.
        kind: color in HTML: "good", "bad", "open" or "".
    """

    text: str
    notes: tuple[str, ...] = ()
    interval: Interval | None = None
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: headings, each with a note; the first is the heading of the row names.
        rows: cells by row name.
        highlighted: names of rows that are highlighted in HTML.
    """

    columns: Sequence[tuple[str, str]]
    rows: Mapping[str, Sequence[Cell]]
    highlighted: Sequence[str] = ()


@dataclass(frozen=True)
class Example:
    """Versions of a clip to listen to, as data URIs by label; `picture` is a data URI too."""

    title: str
    note: str
    sounds: Mapping[str, str]
    highlighted: Sequence[str] = ()
    picture: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a report: text, a table, definitions of terms, examples; empty parts are omitted."""

    heading: str
    text: str = ""
    table: Table | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        title: heading of the page.
        facts: model, settings and environment, in one line.
        lead: summary of the results.
        sections: in order.
        data: content of report.json.
        warnings: limitations.
        clips: examples written as files, by file name.
    """

    title: str
    facts: str
    lead: Sequence[str]
    sections: Sequence[Section]
    data: Mapping[str, object]
    warnings: Sequence[str] = ()
    clips: Mapping[str, Audio] = field(default_factory=dict)


def make_folder(folder: str | Path) -> None:
    """Create the folder of a report, before the evaluation starts.

    Raises:
        UserError: it cannot be created, or is read-only.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(folder, f"cannot be created ({error.strerror})", "choose another folder") from error
    if not os.access(folder, os.W_OK):
        raise UserError(folder, "is read-only", "choose another folder")


def write(report: Report, folder: str | Path) -> Path:
    """Write report.json, report.md, report.html and the clips into `folder`, and return the path of the page.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    for name, audio in report.clips.items():
        write_audio(folder / "clips" / name, audio)
    text = json.dumps(plain(report.data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_texts(
        {
            folder / "report.json": text,
            folder / "report.md": markdown(report),
            folder / "report.html": html(report),
        }
    )
    return folder / "report.html"


def format_facts(facts: Mapping[str, object]) -> str:
    """Format facts in one line."""
    return " · ".join(f"{key} {value}" for key, value in facts.items() if value is not None)


def plain(value: object, digits: int | None = None) -> object:
    """Convert a value for JSON: NaN to None, arrays and tuples to lists, other types to text; floats to `digits`."""
    if isinstance(value, Mapping):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item, digits) for item in value]
    if isinstance(value, float):
        rounded = value if digits is None else float(f"{value:.{digits}g}")
        return float(rounded) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def markdown(report: Report) -> str:
    """Format a report as Markdown, without audio."""
    parts = [f"# {report.title}", report.facts, *report.lead, *report.warnings]
    for section in report.sections:
        parts += [f"## {section.heading}", *([section.text] if section.text else [])]
        if section.table:
            parts.append(markdown_table(section.table))
        if section.terms:
            parts.append("\n".join(f"- **{term}**: {text}" for term, text in section.terms.items()))
    return "\n\n".join([*parts, DISCLAIMER]) + "\n"


def markdown_table(table: Table) -> str:
    """Format a table as Markdown."""
    heads = [f"{label}{f' {note}' if note else ''}" for label, note in table.columns]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for name, cells in table.rows.items():
        texts = [cell.text + (f" ({cell.notes[0]})" if cell.notes else "") for cell in cells]
        lines.append(f"| {' | '.join([name, *texts])} |")
    return "\n".join(lines)


def html(report: Report) -> str:
    """Format a report as an HTML page."""
    lines = [f"<h1>{escape(report.title)}</h1>", f'<p class="meta">{escape(report.facts)}</p>']
    lines += [f'<p class="lead">{escape(text)}</p>' for text in report.lead]
    lines += [f'<p class="warning">{escape(text)}</p>' for text in report.warnings]
    for section in report.sections:
        lines += [f"<h2>{escape(section.heading)}</h2>", f"<p>{escape(section.text)}</p>" if section.text else ""]
        lines += [_html_table(section.table)] if section.table else []
        if section.terms:
            terms = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in section.terms.items())
            lines.append(f"<dl>{''.join(terms)}</dl>")
        lines += map(_html_example, section.examples)
    lines.append(f'<p class="meta">{DISCLAIMER}</p>')
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, lines))
        + f"\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _html_table(table: Table) -> str:
    head = "".join(
        f"<th>{escape(label)}{f'<small>{escape(note)}</small>' if note else ''}</th>" for label, note in table.columns
    )
    scales = [_scale(column) for column in zip(*table.rows.values(), strict=True)]
    body = ""
    for name, cells in table.rows.items():
        mark = ' class="ours"' if name in table.highlighted else ""
        shown = "".join(_html_cell(cell, scale) for cell, scale in zip(cells, scales, strict=True))
        body += f"<tr{mark}><th>{escape(name)}</th>{shown}</tr>\n"
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _scale(cells: Sequence[Cell]) -> tuple[float, float]:
    """Lower end and width of the range of a column's intervals."""
    intervals = [cell.interval for cell in cells if cell.interval and cell.interval.clips]
    low, high = (min((i.low for i in intervals), default=0.0), max((i.high for i in intervals), default=1.0))
    return low, (high - low) or 1.0


def _html_cell(cell: Cell, scale: tuple[float, float]) -> str:
    track = ""
    if cell.interval and cell.interval.clips:
        ends = (cell.interval.low, cell.interval.mean, cell.interval.high)
        low, mean, high = (100 * (value - scale[0]) / scale[1] for value in ends)
        track = (
            f'<div class="track"><i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
            f'<b style="left:{mean:.1f}%"></b></div>'
        )
    notes = "".join(f"<small>{escape(note)}</small>" for note in cell.notes)
    kind = f' class="{cell.kind}"' if cell.kind else ""
    return f"<td{kind}><b>{escape(cell.text)}</b>{track}{notes}</td>"


def _html_example(example: Example) -> str:
    players = "".join(
        f"<figure{' class=ours' if label in example.highlighted else ''}><figcaption>{escape(label)}</figcaption>"
        f'<audio controls preload="none" src="{sound}"></audio></figure>\n'
        for label, sound in example.sounds.items()
    )
    picture = f'<img alt="Spectrograms" src="{example.picture}">\n' if example.picture else ""
    return (
        f'<article class="card clip"><header><h3>{escape(example.title)}</h3><small>{escape(example.note)}</small>'
        f'</header>\n{picture}<div class="players">{players}</div></article>'
    )
