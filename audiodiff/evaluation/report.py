"""The report: `report.json` for programs, `report.html` for people, from the same evaluation."""

import json
import math
import os
from dataclasses import asdict
from html import escape
from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.evaluation.evaluate import ENOUGH_CLIPS, Evaluation, Row
from audiodiff.evaluation.figures import sound, spectrogram_pair
from audiodiff.evaluation.page import page
from audiodiff.evaluation.statistics import LEVEL, RESAMPLES, Interval
from audiodiff.files import write_texts
from audiodiff.metrics import REPORT_METRICS, Metric

VERSION = 1
EXAMPLES = 8
EXAMPLE_SECONDS = (1.0, 8.0)
OURS = ("network", "network_consistency")
# What the numbers are for: each pair is a question about the network.
COMPARISONS = (
    ("network_consistency", "griffin_lim"),
    ("network_consistency", "noise_consistency"),
    ("network_consistency", "world"),
    ("network", "untrained"),
    ("network", "noise"),
)


def claim(folder: str | Path) -> None:
    """Make the folder before the work that is to end up in it.

    Raises:
        UserError: it cannot be made, or is read-only.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(folder, f"cannot be made ({error.strerror})", "choose another folder") from error
    if not os.access(folder, os.W_OK):
        raise UserError(folder, "is read-only", "choose another folder")


def write(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write report.json and report.html into `folder`; the page's path is returned.

    Raises:
        UserError: the folder cannot be written.
    """
    numbers, page = Path(folder) / "report.json", Path(folder) / "report.html"
    text = json.dumps(summary(evaluation), indent=1, ensure_ascii=False) + "\n"
    write_texts({numbers: text, page: html(evaluation)})
    return page


def summary(evaluation: Evaluation) -> dict:
    """All numbers, ready for JSON: NaN is null."""
    rows = evaluation.rows
    return _clean(
        {
            "report": "audiodiff",
            "version": VERSION,
            "environment": evaluation.environment,
            "model": evaluation.model,
            "settings": asdict(evaluation.settings),
            "data": {
                "clips": len(evaluation.clips),
                "left_out_too_short": evaluation.left_out,
                "seconds": sum(clip.seconds for clip in evaluation.clips),
                "synthetic_clips": sum(clip.synthetic for clip in evaluation.clips),
                "clip_list_sha256": evaluation.clip_list_hash,
                "manifest_hash": evaluation.manifest_hash,
                "sample_rate": evaluation.sample_rate,
            },
            "bootstrap": {"level": LEVEL, "resamples": RESAMPLES, "over": "clips", "kind": "percentile"},
            "metrics": {
                name: {key: getattr(metric, key) for key in ("label", "unit", "better", "meaning")}
                for name, metric in REPORT_METRICS.items()
            },
            "rows": {
                name: {
                    "label": row.system.label,
                    "note": row.system.note,
                    "real_time_factor": row.speed,
                    "scores": {metric: asdict(row.interval(metric)) for metric in REPORT_METRICS},
                }
                for name, row in rows.items()
            },
            "differences": [
                {
                    "row": a,
                    "other": b,
                    "scores": {metric: asdict(rows[a].gain(rows[b], metric)) for metric in REPORT_METRICS},
                }
                for a, b in _comparisons(evaluation)
            ],
            "clips": [
                {key: getattr(clip, key) for key in ("id", "split", "seconds", "text")}
                | {"scores": {name: {j: float(row.scores[j][i]) for j in REPORT_METRICS} for name, row in rows.items()}}
                for i, clip in enumerate(evaluation.clips)
            ],
            "seconds": evaluation.seconds,
            "metric_seconds_per_clip": evaluation.metric_seconds,
        }
    )


def html(evaluation: Evaluation) -> str:
    """The page."""
    sections = (_head, _scores, _differences, _listen, _explanations, _method)
    return page("Vocoder report", "\n".join(section(evaluation) for section in sections))


def verdict(metric: Metric, gain: Interval) -> str:
    """What a difference says: "better" or "worse" if its interval leaves out 0, else "open"."""
    if not gain.clips or gain.low <= 0 <= gain.high:
        return "open"
    return "better" if (gain.low > 0) == (metric.better == "higher") else "worse"


def examples(evaluation: Evaluation) -> list[int]:
    """Which clips are to be heard: evenly spaced from short to long, so that none is picked by ear."""
    order = sorted(range(len(evaluation.clips)), key=lambda i: evaluation.clips[i].seconds)
    low, high = EXAMPLE_SECONDS
    order = [i for i in order if low <= evaluation.clips[i].seconds <= high] or order[:EXAMPLES]
    count = min(EXAMPLES, len(order))
    return [order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count)]


def _clean(value: object) -> object:
    """NaN as None, tuples as lists, whatever JSON does not know as text."""
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _comparisons(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [(a, b) for a, b in COMPARISONS if a in evaluation.rows and b in evaluation.rows]


def _number(metric: Metric, value: float, signed: bool = False) -> str:
    text = f"{value:+.{metric.decimals}f}" if signed else f"{value:.{metric.decimals}f}"
    return "–" if math.isnan(value) else text.replace("-", "−")


def _head(evaluation: Evaluation) -> str:
    clips, rows, model = evaluation.clips, evaluation.rows, evaluation.model
    best, truth = rows["network_consistency"], rows["ground_truth"]
    said = ", ".join(
        f"{REPORT_METRICS[name].label} <b>{_number(REPORT_METRICS[name], best.interval(name).mean)}</b>"
        f" (recordings: {_number(REPORT_METRICS[name], truth.interval(name).mean)})"
        for name in ("pesq", "stoi", "dnsmos", "voicing_f1")
    )
    minutes = sum(clip.seconds for clip in clips) / 60
    lines = [
        "<h1>How good is this vocoder?</h1>",
        f'<p class="meta">{evaluation.environment["date"][:16].replace("T", " ")} UTC · model '
        f"{escape(model['hash'][:12]) or 'without a checkpoint'} · {model['parameters'] / 1e6:.1f} M parameters · "
        f"{escape(model['sampler'])}, {model['steps']} network calls · seed {evaluation.settings.seed}</p>",
        f'<p class="lead">{len(clips)} held-out recordings ({minutes:.1f} minutes) were reduced to mel spectrograms '
        f"and made again. The network with mel consistency reaches {said}.</p>",
    ]
    for other in ("griffin_lim", "noise_consistency"):
        if other in rows:
            lines.append(f"<p>{_tally(best, rows[other])}</p>")
    if len(clips) < ENOUGH_CLIPS:
        lines.append(f'<p class="warning">Fewer than {ENOUGH_CLIPS} clips: read the intervals, not the means.</p>')
    if synthetic := sum(clip.synthetic for clip in clips):
        lines.append(
            f'<p class="warning">{synthetic} of the clips are synthetic speech, not recordings of a person.</p>'
        )
    return "\n".join(lines)


def _tally(row: Row, other: Row) -> str:
    named: dict[str, list[str]] = {"better": [], "worse": [], "open": []}
    for name, metric in REPORT_METRICS.items():
        named[verdict(metric, row.gain(other, name))].append(metric.label)
    parts = (
        ("better on", "good", named["better"]),
        ("worse on", "bad", named["worse"]),
        ("undecided on", "open", named["open"]),
    )
    said = "; ".join(f'<span class="{css}">{how}</span> {", ".join(names)}' for how, css, names in parts if names)
    return f"Against <b>{escape(other.system.label)}</b>, clip by clip, it is {said}."


def _scores(evaluation: Evaluation) -> str:
    intervals = {
        name: {metric: row.interval(metric) for metric in REPORT_METRICS} for name, row in evaluation.rows.items()
    }
    ends, clips = {}, len(evaluation.clips)
    for metric in REPORT_METRICS:
        scored = [one[metric] for one in intervals.values() if one[metric].clips]
        ends[metric] = (min((i.low for i in scored), default=0.0), max((i.high for i in scored), default=1.0))
    head = "".join(
        f"<th>{escape(metric.label)}<small>{'↑' if metric.better == 'higher' else '↓'} {metric.better} is better"
        f"{', ' + metric.unit if metric.unit else ''}</small></th>"
        for metric in REPORT_METRICS.values()
    )
    body = ""
    for name, row in evaluation.rows.items():
        cells = "".join(_score_cell(REPORT_METRICS[j], i, ends[j], clips) for j, i in intervals[name].items())
        speed = "–" if row.speed is None else f"<b>{row.speed:.{0 if row.speed >= 10 else 1}f}×</b>"
        ours = ' class="ours"' if name in OURS else ""
        body += f"<tr{ours}><th>{escape(row.system.label)}</th>{cells}<td>{speed}</td></tr>\n"
    return (
        "<h2>Scores</h2>\n<p>Means over clips with their 95 % intervals. The dot is the mean, the band the interval; "
        "the line spans all rows of its column.</p>\n"
        f'<div class="card scroll"><table><thead><tr><th>System</th>{head}<th>Speed<small>times real time</small></th>'
        f"</tr></thead><tbody>\n{body}</tbody></table></div>\n{_system_notes(evaluation)}"
    )


def _score_cell(metric: Metric, interval: Interval, ends: tuple[float, float], clips: int) -> str:
    if not interval.clips:
        return "<td>–<small>no clip can be scored</small></td>"
    width = (ends[1] - ends[0]) or 1.0
    low, mean, high = (100 * (value - ends[0]) / width for value in (interval.low, interval.mean, interval.high))
    few = "" if interval.clips == clips else f"<small>{interval.clips} of {clips} clips</small>"
    return (
        f"<td><b>{_number(metric, interval.mean)}</b>"
        f'<div class="track"><i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<b style="left:{mean:.1f}%"></b></div>'
        f"<small>{_number(metric, interval.low)} – {_number(metric, interval.high)}</small>{few}</td>"
    )


def _system_notes(evaluation: Evaluation) -> str:
    notes = "".join(
        f"<dt>{escape(row.system.label)}</dt><dd>{escape(row.system.note)}</dd>" for row in evaluation.rows.values()
    )
    return f"<dl>{notes}</dl>"


def _differences(evaluation: Evaluation) -> str:
    pairs = _comparisons(evaluation)
    if not pairs:
        return ""
    head = "".join(f"<th>{escape(metric.label)}</th>" for metric in REPORT_METRICS.values())
    css = {"better": "good", "worse": "bad", "open": "open"}
    words = {"better": "better", "worse": "worse", "open": "undecided"}
    body = ""
    for a, b in pairs:
        row, other = evaluation.rows[a], evaluation.rows[b]
        body += f"<tr><th>{escape(row.system.label)}<small> against</small> {escape(other.system.label)}</th>"
        for name, metric in REPORT_METRICS.items():
            gain = row.gain(other, name)
            said = verdict(metric, gain)
            body += (
                f'<td class="{css[said]}"><b>{_number(metric, gain.mean, True)}</b><small>{words[said]}</small>'
                f"<small>{_number(metric, gain.low, True)} to {_number(metric, gain.high, True)}</small></td>"
            )
        body += "</tr>\n"
    return (
        "<h2>Differences</h2>\n<p>The same clips scored twice: first system minus second, clip by clip, with the 95 % "
        "interval of the mean. Where the interval holds zero, these clips do not decide it.</p>\n"
        f'<div class="card scroll"><table><thead><tr><th>Comparison</th>{head}</tr></thead><tbody>\n{body}</tbody>'
        "</table></div>"
    )


def _listen(evaluation: Evaluation) -> str:
    rate, rows = evaluation.sample_rate, evaluation.rows
    truth, best = rows["ground_truth"], rows["network_consistency"]
    cards = ""
    for i in examples(evaluation):
        clip = evaluation.clips[i]
        picture = spectrogram_pair(truth.waveforms[i], best.waveforms[i], (truth.system.label, best.system.label), rate)
        players = "".join(
            f"<figure{' class=ours' if name in OURS else ''}><figcaption>{escape(row.system.label)}</figcaption>"
            f'<audio controls preload="none" src="{sound(row.waveforms[i], rate)}"></audio></figure>\n'
            for name, row in rows.items()
        )
        title = f"<q>{escape(clip.text)}</q>" if clip.text else f"<h3>{escape(clip.id)}</h3>"
        cards += (
            f'<article class="card clip"><header>{title}<small>{escape(clip.id)} · {clip.seconds:.1f} s · '
            f"{clip.split}</small></header>\n"
            f'<img alt="Spectrograms of the recording and of the network with mel consistency" src="{picture}">\n'
            f'<div class="players">{players}</div></article>\n'
        )
    return (
        "<h2>Listen</h2>\n<p>Clips evenly spaced from short to long, none picked by ear; lossless, at their own level. "
        "Spectrograms span 80 dB below the recording's loudest point. Headphones help.</p>\n" + cards
    )


def _explanations(evaluation: Evaluation) -> str:
    said = "".join(
        f"<dt>{escape(metric.label)}</dt><dd>{escape(metric.meaning)}</dd>" for metric in REPORT_METRICS.values()
    )
    return f"<h2>What each metric says</h2>\n<p>None of them is a listener.</p>\n<dl>{said}</dl>"


def _method(evaluation: Evaluation) -> str:
    environment, seconds, checked = evaluation.environment, evaluation.seconds, evaluation.model["validated"]
    metrics = ", ".join(
        f"{REPORT_METRICS[name].label} {1000 * value:.0f}" for name, value in evaluation.metric_seconds.items()
    )
    facts = {
        "Clips": f"{len(evaluation.clips)} of {' and '.join(evaluation.settings.splits)}; "
        f"{evaluation.left_out} shorter than half a second left out",
        "Clip list (SHA-256)": evaluation.clip_list_hash,
        "Manifest": evaluation.manifest_hash,
        "Intervals": f"percentile bootstrap over clips, {RESAMPLES} resamples, {LEVEL:.0%}; every clip counts once",
        "Not scored": "where a metric has nothing to go by (no shared voiced frame, too short), the clip is left out of "
        "that mean and the cell says how many remain; a silent result is not left out",
        "Speed": f"seconds of audio per second of work, one clip at a time, {environment['threads']} threads, "
        f"{environment['device']}; the mel is given, mel consistency is included",
        "Time grid": "stored in the model" if evaluation.model["grid"] else "the sampler's own",
        "Network calls that the model was checked with": "{} to {}".format(*checked) if checked else "not recorded",
        "Time": f"synthesis {seconds['synthesis']:.0f} s, scoring {seconds['scoring']:.0f} s",
        "Metrics, ms per clip": metrics,
        "Model": evaluation.model["hash"],
        "Training": json.dumps(_clean(evaluation.model["training"]), ensure_ascii=False),
        **{name.replace("_", " "): value for name, value in environment.items()},
    }
    code = {"Clip list (SHA-256)", "Manifest", "Model", "Training"}
    said = "".join(
        f"<dt>{escape(name)}</dt><dd{' class=code' if name in code else ''}>{escape(str(value))}</dd>"
        for name, value in facts.items()
    )
    return f"<h2>How this was measured</h2>\n<dl>{said}</dl>"
