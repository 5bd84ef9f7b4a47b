"""Markdown report of a benchmark: a table per block, and the PESQ difference between few and many steps.

Rows that differ in steps alone are a series (`series`): a line of the plot. Few and many steps are compared in it.
"""

from audiodiff.evaluation.record import Block, Record, Row
from audiodiff.evaluation.report import DISCLAIMER, Cell, Table, markdown_table
from audiodiff.evaluation.speech_metrics import ALL_METRICS
from audiodiff.evaluation.statistics import LEVEL, Interval
from audiodiff.metrics import Described

DEVICES = {"cpu": "CPU", "cuda": "GPU"}
COMPARED = ("pesq", "dnsmos")  # the first of them that a block has is compared between few and many steps
SPEED = {  # by type of model
    "vocoder": "median over clips synthesized one at a time from the mel, with mel consistency",
    "acoustic": "median over texts spoken one at a time, from the text to the waveform",
}


def markdown(record: Record, plot: str = "") -> str:
    """Format a record as Markdown; `plot` is the path of the plot, relative to the text."""
    model, facts = record.model, record.environment
    parts = [
        "## Quality and speed",
        f"By `audiodiff benchmark` (audiodiff {facts['audiodiff']}, torch {facts['torch']}) on {facts['date'][:10]}; "
        f"model `{model['hash'][:12]}`, {model['parameters'] / 1e6:.1f} M parameters, {_second_stage(model)}. Numbers "
        f"are means over clips ± half the width of their {LEVEL:.0%} confidence interval (bootstrap over clips). Speed "
        f"is seconds of audio per second of work, {SPEED[model.get('type', 'vocoder')]}; in parentheses its inverse, "
        f"the real-time factor. Measured on {_hardware(record)}. {DISCLAIMER}",
        *([f"![Quality and speed over steps]({plot})"] if plot else []),
        *_settings_table(record),
        *(part for block in record.shown for part in _block(block)),
        _meanings(record),
    ]
    return "\n\n".join(parts) + "\n"


def _settings_table(record: Record) -> list[str]:
    """The named settings on every group of clips in one table; none for a single group, or a model without settings."""
    chosen = [(block, row) for block in record.shown for row in ordered(block) if row.setting]
    if len({block.name for block, _ in chosen}) < 2:
        return []
    names = [name for name in ALL_METRICS if any(name in block.metrics for block, _ in chosen)]
    heads = ["Clips", "Setting", *(ALL_METRICS[name].heading for name in names)]
    lines = [f"| {' | '.join(heads)} |", f"| --- | --- | {' | '.join(['---:'] * len(names))} |"]
    for block, row in chosen:
        scores = [_score(block.interval(row, name), name) for name in names]
        lines.append(f"| {' | '.join([block.name, row.label, *scores])} |")
    return ["### Settings by voice", "\n".join(lines)]


def _second_stage(model: dict) -> str:
    """What comes after the network: mel consistency of a vocoder, the vocoder of a voice."""
    if "vocoder_parameters" in model:
        return f"with a vocoder of {model['vocoder_parameters'] / 1e6:.1f} M"
    return "with mel consistency after the network"


def comparisons(block: Block) -> list[str]:
    """Difference to the most steps in one metric, as a line for each sampler and smaller number of steps."""
    return [
        f"{block.name}, {name}, {few.steps} against {many.steps} steps: {compared(block).label} "
        f"{_difference(gain, compared(block))}, "
        f"{gain.clips} clips"
        for name, few, many, gain in _differences(block)
    ]


def compared(block: Block) -> Described:
    """The metric that few and many steps are compared by."""
    return ALL_METRICS[next((name for name in COMPARED if name in block.metrics), COMPARED[0])]


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
    has_iterations = any(row.iterations is not None for row in block.rows.values())
    headings = ["System", "Steps", *(["Iterations"] if has_iterations else [])]
    headings += [ALL_METRICS[name].heading for name in block.metrics]
    headings += [f"{DEVICES[kind]}, times real time" for kind in devices]
    lines = [f"| {' | '.join(headings)} |", f"| --- | {' | '.join(['---:'] * (len(headings) - 1))} |"]
    for row in ordered(block):  # rows of one sampler have the same label
        cells = [row.label, str(row.steps or "–")]
        cells += ["–" if row.iterations is None else str(row.iterations)] if has_iterations else []
        cells += [_score(block.interval(row, name), name) for name in block.metrics]
        lines.append(f"| {' | '.join([*cells, *(_speed(row, kind) for kind in devices)])} |")
    return "\n".join(lines)


def ordered(block: Block) -> list[Row]:
    """Sort rows: systems without a network, then settings, then by sampler, iterations and steps."""
    samplers = list(dict.fromkeys(row.sampler for row in block.rows.values()))

    def place(row: Row) -> tuple[int, ...]:
        if not row.steps or row.setting:
            return (int(row.steps > 0),)
        return 2, samplers.index(row.sampler), row.iterations or 0, row.steps

    return sorted(block.rows.values(), key=place)


def series(block: Block) -> dict[str, list[Row]]:
    """Rows that differ in steps alone, by their sampler and, where these differ, iterations; settings are in none."""
    rows = [row for row in ordered(block) if row.steps and not row.setting]
    several = len({row.iterations for row in rows}) > 1
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row.sampler}, {row.iterations} iterations" if several else row.sampler, []).append(row)
    return found


def _difference_table(block: Block) -> list[str]:
    differences = _differences(block)
    if not differences:
        return []
    steps = sorted({few.steps for _, few, _, _ in differences})
    rows = {}
    for name in dict.fromkeys(name for name, *_ in differences):
        gains = {few.steps: gain for one, few, _, gain in differences if one == name}
        most = next(many.steps for one, _, many, _ in differences if one == name)
        texts = (_difference(gains[count], compared(block)) if count in gains else "–" for count in steps)
        rows[name] = [Cell(str(most)), *map(Cell, texts)]
    text = f"{compared(block).label} with fewer steps minus that with the most steps, clip by clip, with its interval:"
    return [text, markdown_table(Table([("Sampler", ""), ("Most steps", ""), *((str(n), "") for n in steps)], rows))]


def _differences(block: Block) -> list[tuple[str, Row, Row, Interval]]:
    """(series, few, many, PESQ of few minus PESQ of many) for every number of steps below the most of a series."""
    found = []
    for name, rows in series(block).items():
        rows = [row for row in rows if compared(block).name in row.scores]
        found += [(name, few, rows[-1], block.gain(few, rows[-1], compared(block).name)) for few in rows[:-1]]
    return found


def _hardware(record: Record) -> str:
    speeds = [speed for block in record.shown for row in block.rows.values() for speed in row.speed.values()]
    found = dict.fromkeys(
        f"{speed.hardware} ({speed.threads} threads)" if speed.threads else speed.hardware for speed in speeds
    )
    return " and ".join(found)


def _meanings(record: Record) -> str:
    names = [name for name in ALL_METRICS if any(name in block.metrics for block in record.shown)]
    return "\n".join(f"- **{ALL_METRICS[name].label}**: {ALL_METRICS[name].meaning}" for name in names)


def _score(interval: Interval, name: str) -> str:
    if not interval.clips:
        return "–"
    metric = ALL_METRICS[name]
    return f"{metric.format(interval.mean)} ± {metric.format((interval.high - interval.low) / 2)}"


def _difference(gain: Interval, metric: Described) -> str:
    mean, low, high = (metric.format(value, signed=True) for value in (gain.mean, gain.low, gain.high))
    return f"{mean} ({low} to {high})"


def _speed(row: Row, kind: str) -> str:
    if kind not in row.speed:
        return "–"
    factor = row.speed[kind].median
    return f"{1 / factor:.{0 if factor < 0.1 else 1}f} ({factor:.2g})"
