"""Results of a model card as the hub's metadata: `model-index`, a list of task, data set, metric and value.

Two tables of a card are read: that of `audiodiff benchmark`, whose row of the default setting counts, and a part
`results` between marks, with a row for each value:

    | data | metric | value | 95 % interval | measured by |

Form: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import re
from collections.abc import Iterator
from typing import Any

from audiodiff.models import card

RESULTS_HEADER = ("data", "metric", "value", "95 % interval", "measured by")
_BENCHMARK_HEADER = ("Clips", "Setting")
_DEFAULT = "(default)"
Row = tuple[str, str, float, dict[str, str]]  # data, metric, value, its interval and what measured it
_NUMBER = re.compile(r"[+−-]?\d+(?:\.\d+)?")
# Names of metrics on the hub, by how ours begin; others are named by their own words.
_TYPES = {"PESQ-WB": "pesq", "STOI": "stoi", "DNSMOS": "dnsmos", "Word error": "wer", "Character error": "cer"}


def model_index(name: str, task: str, text: str) -> list[dict[str, Any]]:
    """The results in a card's text, as the value of `model-index`; empty without any.

    Args:
        name: of the model.
        task: its task, as the hub names it.
        text: the card.
    """
    results = [
        {
            "task": {"type": task or "other"},
            "dataset": {"type": _slug(data), "name": data},
            "metrics": [{"type": _type(metric), "name": metric, "value": value, "args": measured}],
        }
        for data, metric, value, measured in (*_results(text), *_benchmark(text))
    ]
    return [{"name": name, "results": results}] if results else []


def _results(text: str) -> Iterator[Row]:
    """Each row of the part `results`."""
    for header, rows in _tables(card.get(card.RESULTS, text)):
        if header == RESULTS_HEADER:
            for data, metric, value, interval, how in rows:
                if found := _NUMBER.match(value):
                    yield data, metric, _number(found), {"interval": interval, "measured_by": how.replace("`", "")}


def _benchmark(text: str) -> Iterator[Row]:
    """Each metric of the default setting, on each data set of a benchmark."""
    for header, rows in _tables(card.get(card.BENCHMARK, text)):
        if header[:2] == _BENCHMARK_HEADER:
            for row in rows:
                for metric, value in zip(header[2:], row[2:], strict=False):
                    found = _NUMBER.match(value)
                    if found and row[1].endswith(_DEFAULT) and "," not in row[1]:
                        yield (
                            row[0],
                            metric.rstrip(" ↑↓"),
                            _number(found),
                            {"interval": value, "measured_by": "audiodiff benchmark"},
                        )


def _tables(text: str) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """(header, rows) of the tables of Markdown; rows of another length are left out."""
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = [tuple(cell.strip() for cell in line.strip("| ").split("|")) for line in block.splitlines()]
        if len(lines) > 2:
            yield lines[0], [line for line in lines[2:] if len(line) == len(lines[0])]


def _number(found: re.Match[str]) -> float:
    return float(found[0].replace("−", "-"))


def _type(metric: str) -> str:
    return next((name for words, name in _TYPES.items() if metric.startswith(words)), _slug(metric))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
