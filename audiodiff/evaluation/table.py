"""Markdown report of a benchmark: a table per block, and the PESQ difference between few and many steps."""

from audiodiff.evaluation.record import Block, Record, Row
from audiodiff.evaluation.report import DISCLAIMER, Cell, Table, markdown_table
from audiodiff.evaluation.statistics import LEVEL, Interval
from audiodiff.metrics import METRICS

DEVICES = {"cpu": "CPU", "cuda": "GPU"}
COMPARED = METRICS["pesq"]


def markdown(record: Record, plot: str = "") -> str:
    """Format a record as Markdown; `plot` is the path of the plot, relative to the text."""
    model, facts = record.model, record.environment
    parts = [
        "## Quality and speed",
        f"By `audiodiff benchmark` (audiodiff {facts['audiodiff']}, torch {facts['torch']}) on {facts['date'][:10]}; "
        f"model `{model['hash'][:12]}`, {model['parameters'] / 1e6:.1f} M parameters, {model['consistency']} "
        "iterations of mel consistency after the network. Numbers are means over clips ± half the width of their "
        f"{LEVEL:.0%} confidence interval (bootstrap over clips). Speed is seconds of audio per second of work, median "
        "over clips synthesized one at a time from the mel, with mel consistency; in parentheses its inverse, the "
        f"real-time factor. Measured on {_hardware(record)}. {DISCLAIMER}",
        *([f"![Quality and speed over steps]({plot})"] if plot else []),
        *(part for block in record.shown for part in _block(block)),
        _meanings(record),
    ]
    return "\n\n".join(parts) + "\n"


def comparisons(block: Block) -> list[str]:
    """PESQ difference to the most steps, as a line for each sampler and smaller number of steps."""
    return [
        f"{block.name}, {few.sampler}, {few.steps} against {many.steps} steps: {COMPARED.label} {_difference(gain)}, "
        f"{gain.clips} clips"
        for few, many, gain in _differences(block)
    ]


def _block(block: Block) -> list[str]:
    facts = (
        f"{len(block.clips)} clips ({block.seconds / 60:.1f} minutes) of {' and '.join(block.splits)}; seed "
        f"{block.seed}; clip list SHA-256 `{block.clip_list_sha256}`."
    )
    return [f"### {block.name}", facts + _words(block), _scores(block), *_difference_table(block)]


def _words(block: Block) -> str:
    if not any("wer" in row.scores for row in block.rows.values()):
        return ""
    count = block.words
    if not count["text"] + count["recording"]:
        return " No clip is known to be English, so there is no word error rate."
    parts = [f"{count['text']} clips against their texts"] if count["text"] else []
    if count["recording"]:
        parts.append(f"{count['recording']} against the transcript of the recording")
    if count["none"]:
        parts.append(f"{count['none']} not known to be English are excluded")
    total = round(block.weights["wer"].sum())
    return f" Word error rate over {total} words: {', '.join(parts)}."


def _scores(block: Block) -> str:
    devices = [kind for kind in DEVICES if any(kind in row.speed for row in block.rows.values())]
    headings = ["System", "Steps", *(METRICS[name].heading for name in block.metrics)]
    headings += [f"{DEVICES[kind]}, times real time" for kind in devices]
    lines = [f"| {' | '.join(headings)} |", f"| --- | {' | '.join(['---:'] * (len(headings) - 1))} |"]
    for row in ordered(block):  # rows of one sampler have the same label
        cells = [row.label, str(row.steps or "–"), *(_score(block.interval(row, name), name) for name in block.metrics)]
        lines.append(f"| {' | '.join([*cells, *(_speed(row, kind) for kind in devices)])} |")
    return "\n".join(lines)


def ordered(block: Block) -> list[Row]:
    """Sort rows: systems without a network first, then by sampler and steps."""
    samplers = list(dict.fromkeys(row.sampler for row in block.rows.values()))
    return sorted(block.rows.values(), key=lambda row: (row.steps > 0, samplers.index(row.sampler), row.steps))


def _difference_table(block: Block) -> list[str]:
    differences = _differences(block)
    if not differences:
        return []
    steps = sorted({few.steps for few, _, _ in differences})
    rows = {}
    for sampler in dict.fromkeys(few.sampler for few, _, _ in differences):
        gains = {few.steps: gain for few, _, gain in differences if few.sampler == sampler}
        most = next(many.steps for few, many, _ in differences if few.sampler == sampler)
        texts = (_difference(gains[count]) if count in gains else "–" for count in steps)
        rows[sampler] = [Cell(str(most)), *map(Cell, texts)]
    text = f"{COMPARED.label} with fewer steps minus that with the most steps, clip by clip, with its interval:"
    return [text, markdown_table(Table([("Sampler", ""), ("Most steps", ""), *((str(n), "") for n in steps)], rows))]


def _differences(block: Block) -> list[tuple[Row, Row, Interval]]:
    """(few, many, PESQ of few minus PESQ of many) for every sampler and every number of steps below its maximum."""
    found = []
    for sampler in dict.fromkeys(row.sampler for row in block.rows.values() if row.steps):
        rows = [row for row in ordered(block) if row.sampler == sampler and COMPARED.name in row.scores]
        found += [(few, rows[-1], block.gain(few, rows[-1], COMPARED.name)) for few in rows[:-1]]
    return found


def _hardware(record: Record) -> str:
    speeds = [speed for block in record.shown for row in block.rows.values() for speed in row.speed.values()]
    found = dict.fromkeys(
        f"{speed.hardware} ({speed.threads} threads)" if speed.threads else speed.hardware for speed in speeds
    )
    return " and ".join(found)


def _meanings(record: Record) -> str:
    names = [name for name in METRICS if any(name in block.metrics for block in record.shown)]
    return "\n".join(f"- **{METRICS[name].label}**: {METRICS[name].meaning}" for name in names)


def _score(interval: Interval, name: str) -> str:
    if not interval.clips:
        return "–"
    metric = METRICS[name]
    return f"{metric.format(interval.mean)} ± {metric.format((interval.high - interval.low) / 2)}"


def _difference(gain: Interval) -> str:
    mean, low, high = (COMPARED.format(value, signed=True) for value in (gain.mean, gain.low, gain.high))
    return f"{mean} ({low} to {high})"


def _speed(row: Row, kind: str) -> str:
    if kind not in row.speed:
        return "–"
    factor = row.speed[kind].median
    return f"{1 / factor:.{0 if factor < 0.1 else 1}f} ({factor:.2g})"
