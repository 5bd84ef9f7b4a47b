"""A record as Markdown: for every block a table of all rows, and what few calls of a sampler lose against many."""

import math

from audiodiff.evaluation.record import Block, Record, Row
from audiodiff.evaluation.statistics import LEVEL, Interval
from audiodiff.metrics import METRICS

DEVICES = {"cpu": "CPU", "cuda": "GPU"}
COMPARED = "pesq"


def markdown(record: Record, plot: str = "") -> str:
    """The whole text; `plot` is where the picture lies, seen from the text."""
    model, made = record.model, record.environment
    parts = [
        "## Quality and speed",
        f"By `audiodiff benchmark` (audiodiff {made['audiodiff']}, torch {made['torch']}) on {made['date'][:10]}; "
        f"model `{model['hash'][:12]}`, {model['parameters'] / 1e6:.1f} M parameters, {model['consistency']} "
        "iterations of mel consistency after the network. Numbers are means over clips ± half the width of their "
        f"{LEVEL:.0%} interval (bootstrap over clips). Speed is seconds of audio per second of work, median over clips "
        "made one at a time, mel given, mel consistency included; in brackets the real-time factor, its inverse. "
        f"Measured on {_hardware(record)}.",
        *([f"![Quality and speed over network calls]({plot})"] if plot else []),
        *(part for block in record.shown for part in _block(block)),
        _judges(record),
    ]
    return "\n\n".join(parts) + "\n"


def comparisons(block: Block) -> list[str]:
    """For each sampler and number of calls, in a sentence: what it gains or loses against the most calls."""
    name = METRICS[COMPARED].label
    return [
        f"{block.name}, {few.sampler}, {few.calls} against {many.calls} calls: {name} {_difference(gain)}, "
        f"{gain.clips} clips"
        for few, many, gain in _losses(block)
    ]


def _block(block: Block) -> list[str]:
    said = (
        f"{len(block.clips)} clips ({block.seconds / 60:.1f} minutes) of {' and '.join(block.splits)}; seed "
        f"{block.seed}; clip list SHA-256 `{block.clip_list_sha256}`."
    )
    return [f"### {block.name}", said + _words(block), _table(block), *_lost(block)]


def _words(block: Block) -> str:
    if not any("wer" in row.scores for row in block.rows.values()):
        return ""
    count = block.words
    scored = count["text"] + count["recording"]
    if not scored:
        return " No clip is known to be English, so the word error rate is left open."
    parts = [f"{count['text']} clips against their texts"] if count["text"] else []
    if count["recording"]:
        parts.append(f"{count['recording']} against what is heard in the recording")
    if count["none"]:
        parts.append(f"{count['none']} not known to be English are left out")
    total = round(block.weights["wer"].sum())
    return f" Word error rate over {total} words: {', '.join(parts)}."


def _table(block: Block) -> str:
    metrics = block.metrics
    devices = [kind for kind in DEVICES if any(kind in row.speed for row in block.rows.values())]
    heads = [
        f"{METRICS[name].label}{f' ({METRICS[name].unit})' if METRICS[name].unit else ''} "
        f"{'↑' if METRICS[name].better == 'higher' else '↓'}"
        for name in metrics
    ]
    lines = [
        _line("System", "Calls", *heads, *(f"{DEVICES[kind]}, times real time" for kind in devices)),
        _line("---", *["---:"] * (1 + len(heads) + len(devices))),
    ]
    for row in ordered(block):
        scores = (_score(block.interval(row, name), name) for name in metrics)
        lines.append(_line(row.label, str(row.calls or "–"), *scores, *(_speed(row, kind) for kind in devices)))
    return "\n".join(lines)


def ordered(block: Block) -> list[Row]:
    """Rows without a network first, then by sampler and calls."""
    samplers = list(dict.fromkeys(row.sampler for row in block.rows.values()))
    return sorted(block.rows.values(), key=lambda row: (row.calls > 0, samplers.index(row.sampler), row.calls))


def _lost(block: Block) -> list[str]:
    losses = _losses(block)
    if not losses:
        return []
    calls = sorted({few.calls for few, _, _ in losses})
    lines = [_line("Sampler", "Against", *map(str, calls)), _line("---", *["---:"] * (1 + len(calls)))]
    for sampler in dict.fromkeys(few.sampler for few, _, _ in losses):
        mine = {few.calls: (gain, many) for few, many, gain in losses if few.sampler == sampler}
        most = next(iter(mine.values()))[1].calls
        cells = (_difference(mine[count][0]) if count in mine else "–" for count in calls)
        lines.append(_line(sampler, str(most), *cells))
    said = f"{METRICS[COMPARED].label} with so many calls minus that with the most, clip by clip, with its interval:"
    return [said, "\n".join(lines)]


def _losses(block: Block) -> list[tuple[Row, Row, Interval]]:
    """(few, many, PESQ of few minus PESQ of many) for every sampler and every number of calls below its most."""
    found = []
    for sampler in dict.fromkeys(row.sampler for row in block.rows.values() if row.calls):
        rows = [row for row in ordered(block) if row.sampler == sampler and COMPARED in row.scores]
        found += [(few, rows[-1], block.gain(few, rows[-1], COMPARED)) for few in rows[:-1]]
    return found


def _hardware(record: Record) -> str:
    speeds = [speed for block in record.shown for row in block.rows.values() for speed in row.speed.values()]
    found = dict.fromkeys(
        f"{speed.hardware} ({speed.threads} threads)" if speed.threads else speed.hardware for speed in speeds
    )
    return " and ".join(found)


def _judges(record: Record) -> str:
    names = [name for name in METRICS if any(name in block.metrics for block in record.shown)]
    return "\n".join(f"- **{METRICS[name].label}**: {METRICS[name].meaning}" for name in names)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float, metric: str, signed: bool = False) -> str:
    return (
        f"{value:{'+' if signed else ''}.{METRICS[metric].decimals}f}".replace("-", "−")
        if math.isfinite(value)
        else "–"
    )


def _score(interval: Interval, metric: str) -> str:
    if not interval.clips:
        return "–"
    return f"{_number(interval.mean, metric)} ± {_number((interval.high - interval.low) / 2, metric)}"


def _difference(gain: Interval) -> str:
    mean, low, high = (_number(value, COMPARED, True) for value in (gain.mean, gain.low, gain.high))
    return f"{mean} ({low} to {high})"


def _speed(row: Row, kind: str) -> str:
    if kind not in row.speed:
        return "–"
    factor = row.speed[kind].median
    return f"{1 / factor:.{0 if factor < 0.1 else 1}f} ({factor:.2g})"
