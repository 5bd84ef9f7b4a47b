"""Report of `vocoder.py` as Markdown and JSON: goals, whether and by how much they are reached, and tables."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vocoder_ours import ALONE, row_name
from vocoder_synthesis import Row
from vocoder_training import Training

from audiodiff.evaluation.report import plain
from audiodiff.evaluation.statistics import LEVEL
from audiodiff.files import write_text
from audiodiff.metrics import REPORT_METRICS

HEADLINE = 4
TRUTH = "ground_truth"
DIFFWAVE_FACTOR, VOCOS_FACTORS = 100, {1: 2, 4: 4}
DEVICES = {"cpu": "CPU", "cuda": "GPU"}


@dataclass(frozen=True)
class Aim:
    """A goal; `reached` is None if there are no results for it."""

    statement: str
    reached: bool | None
    by: str

    def line(self) -> str:
        """Format as Markdown."""
        result = {True: "reached", False: "missed", None: "open"}[self.reached]
        return f"- {self.statement}: **{result}**, {self.by}"


def quality_aims(rows: Mapping[str, Row]) -> list[Aim]:
    """Our model at `HEADLINE` steps against all others on every metric, by paired differences."""
    ours = rows[row_name(HEADLINE)]
    rivals = [row for row in rows.values() if row.contender != ours.contender and row.name != TRUTH]
    return [_quality_aim(ours, rivals, metric) for metric in REPORT_METRICS]


def _quality_aim(ours: Row, rivals: Sequence[Row], metric: str) -> Aim:
    described = REPORT_METRICS[metric]
    statement = f"{described.label}: {HEADLINE} steps are better than all others"
    gains = {row.label: ours.gain(row, metric) for row in rivals}
    known = {name: gain for name, gain in gains.items() if gain.clips}
    if not known:
        return Aim(statement, None, "no clip was scored")
    name, gain = min(known.items(), key=lambda item: item[1].mean)
    worse = [other for other, found in known.items() if not found.mean > 0]
    spans = ", the interval contains 0" if gain.low <= 0 <= gain.high else ""
    by = f"{abs(gain.mean):.2g}{f' {described.unit}' if described.unit else ''} "
    by += f"{'better' if gain.mean > 0 else 'worse'} than {name}{spans}"
    by += f"; worse than {len(worse)} of {len(known)}: {', '.join(worse)}" if len(worse) > 1 else ""
    return Aim(statement, not worse, by)


def speed_aims(rows: Mapping[str, Row]) -> list[Aim]:
    """Ratios of speeds within one run, on every measured device."""
    found = []
    for kind in DEVICES:
        for contender, calls in [("diffwave", 6), *(("vocos", calls) for calls in VOCOS_FACTORS)]:
            rival = next((row for row in rows.values() if row.contender == contender and kind in row.speed), None)
            ours = rows[row_name(calls)]
            if rival and kind in ours.speed:
                alone = rows[row_name(calls, alone=True)]
                found.append(_speed_aim(kind, calls, rival, ours.speed[kind], alone.speed[kind]))
    return found


def _speed_aim(kind: str, calls: int, rival: Row, ours: float, alone: float) -> Aim:
    theirs, name = rival.speed[kind], row_name(calls)
    if rival.contender == "diffwave":
        statement = f"{DEVICES[kind]}: {name}, at least {DIFFWAVE_FACTOR} times faster than {rival.label}"
        by = f"{theirs / ours:.1f} times ({theirs / alone:.1f} without mel consistency)"
        return Aim(statement, theirs / ours >= DIFFWAVE_FACTOR, by)
    most = VOCOS_FACTORS[calls]
    statement = f"{DEVICES[kind]}: {name}, no slower than {most} times {rival.label}"
    by = f"{ours / theirs:.2f} times as long ({alone / theirs:.2f} without mel consistency)"
    return Aim(statement, ours / theirs <= most, by)


def training_table(trainings: Mapping[str, Training]) -> str:
    """Format a Markdown table: a line for each trained system."""
    on_gpu = any(training.gpu_memory is not None for training in trainings.values())
    heads = ["contender", "parameters", "wall time, s", "steps", "audio, s", "audio s per s", "peak memory, MiB"]
    lines = _head([*heads, *(["on the GPU, MiB"] if on_gpu else [])])
    for name, found in trainings.items():
        cells = [name, f"{found.parameters / 1e6:.2f} M", f"{found.seconds:.0f}", str(found.steps)]
        cells += [f"{found.audio_seconds:.0f}", f"{found.throughput:.2f}", f"{found.memory:.0f}"]
        lines.append(_line([*cells, *([f"{found.gpu_memory or math.nan:.0f}"] if on_gpu else [])]))
    return "\n".join(lines)


def quality_table(rows: Mapping[str, Row]) -> str:
    """Format a Markdown table: means with their intervals, a line for each system."""
    heads = [
        f"{one.label}{f' ({one.unit})' if one.unit else ''} {_arrow(one.better)}" for one in REPORT_METRICS.values()
    ]
    lines = _head(["system", *heads])
    for row in rows.values():
        cells = []
        for name, metric in REPORT_METRICS.items():
            found, digits = row.interval(name), metric.decimals
            whole = f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
            cells.append(whole if found.clips else "–")
        lines.append(_line([row.label, *cells]))
    return "\n".join(lines)


def gains_table(rows: Mapping[str, Row], base: str) -> str:
    """Format a Markdown table: paired improvement over the row `base`; * if the interval excludes zero."""
    lines = _head(["", *(metric.label for metric in REPORT_METRICS.values())])
    for name, row in rows.items():
        if name != base:
            found = [row.gain(rows[base], metric) for metric in REPORT_METRICS]
            lines.append(
                _line([name, *(f"{one.mean:+.3g}{'' if one.low <= 0 <= one.high else ' *'}" for one in found)])
            )
    return "\n".join(lines)


def speed_table(rows: Mapping[str, Row]) -> str:
    """Format a Markdown table: real-time factors, their inverses and memory, a line for each timed system."""
    kinds = [kind for kind in DEVICES if any(kind in row.speed for row in rows.values())]
    heads = [f"{DEVICES[kind]}, {what}" for kind in kinds for what in ("real-time factor", "times real time")]
    lines = _head(["system", *heads, "peak memory, MiB"])
    for row in rows.values():
        if row.speed:
            speeds = [row.speed.get(kind) for kind in kinds]
            cells = [cell for speed in speeds for cell in (_factor(speed), _factor(speed and 1 / speed))]
            lines.append(_line([row.label, *cells, f"{row.memory:.0f}"]))
    return "\n".join(lines)


def page(rows: Mapping[str, Row], trainings: Mapping[str, Training], environment: Mapping, how: str, notes: str) -> str:
    """Format the page."""
    where = " · ".join(f"{key} {value}" for key, value in environment.items() if value is not None)
    parts = [
        "# Vocoders after equal training time",
        where,
        how,
        "## Goals",
        f"Quality is the mean paired difference from the closest rival, with {LEVEL:.0%} intervals. Speed is with mel "
        f"consistency, in parentheses without ({ALONE}).",
        "\n".join(aim.line() for aim in (*quality_aims(rows), *speed_aims(rows))),
        "## Training",
        training_table(trainings),
        "## Quality",
        quality_table(rows),
        "\n".join(f"- {row.label}: {row.note}" for row in rows.values()),
        "## Speed and memory",
        "The real-time factor is seconds of work per second of audio, one clip at a time, from the mel. Memory is the "
        "peak of a process that rendered all clips, libraries included.",
        speed_table(rows),
        "## Adaptations",
        notes,
    ]
    return "\n\n".join(parts) + "\n"


def write(
    rows: Mapping[str, Row],
    trainings: Mapping[str, Training],
    environment: Mapping,
    settings: Mapping,
    text: str,
    folder: Path,
) -> None:
    """Write vocoder.md and vocoder.json."""
    record = {
        "environment": environment,
        "settings": settings,
        "aims": [asdict(aim) for aim in (*quality_aims(rows), *speed_aims(rows))],
        "training": {name: asdict(found) | {"throughput": found.throughput} for name, found in trainings.items()},
        "rows": [_row(row) for row in rows.values()],
    }
    write_text(folder / "vocoder.md", text)
    write_text(folder / "vocoder.json", json.dumps(plain(record, digits=6), indent=1, allow_nan=False) + "\n")


def _row(row: Row) -> dict:
    scored = {name: asdict(row.interval(name)) | {"by_clip": row.scores[name]} for name in row.scores}
    return asdict(row) | {"scores": scored}


def _factor(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _arrow(better: str) -> str:
    return "↑" if better == "higher" else "↓"


def _head(heads: Sequence[str]) -> list[str]:
    return [_line(heads), "|---|" + "--:|" * (len(heads) - 1)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
