"""Report of a vocoder's evaluation: scores, differences between systems, examples and method."""

import json
from dataclasses import asdict

from audiodiff.evaluation.figures import sound, spectrogram_pair
from audiodiff.evaluation.held_out import MIN_SECONDS
from audiodiff.evaluation.record import Row, describe_scores, rows_to_json
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table, plain
from audiodiff.evaluation.statistics import LEVEL, RESAMPLES, Interval
from audiodiff.evaluation.vocoder_evaluation import Evaluation
from audiodiff.metrics import REPORT_METRICS, Metric

VERSION = 2
MIN_CLIPS = 50  # fewer give a warning
EXAMPLES = 8
EXAMPLE_SECONDS = (1.0, 8.0)
TRAINED = ("network", "network_consistency")
# Pairs of systems whose difference is reported.
COMPARISONS = (
    ("network_consistency", "griffin_lim"),
    ("network_consistency", "noise_consistency"),
    ("network_consistency", "world"),
    ("network", "untrained"),
    ("network", "noise"),
)


def vocoder_report(evaluation: Evaluation) -> Report:
    """Build the report of an evaluation."""
    clips, model, rows = evaluation.clips, evaluation.model, evaluation.block.rows
    best, truth = rows["network_consistency"], rows["ground_truth"]
    means = ", ".join(
        f"{metric.label} {metric.format(evaluation.block.interval(best, name).mean)}"
        f" (recordings: {metric.format(evaluation.block.interval(truth, name).mean)})"
        for name, metric in REPORT_METRICS.items()
        if name in ("pesq", "stoi", "dnsmos", "voicing_f1")
    )
    minutes = sum(clip.seconds for clip in clips) / 60
    lead = [
        f"{len(clips)} held-out recordings ({minutes:.1f} minutes) were resynthesized from their mel spectrograms. "
        f"Scores of the network with mel consistency: {means}.",
        *(_tally(evaluation, best, rows[name]) for name in ("griffin_lim", "noise_consistency") if name in rows),
    ]
    warnings = []
    if len(clips) < MIN_CLIPS:
        warnings.append(f"Fewer than {MIN_CLIPS} clips: compare the intervals, not the means.")
    if synthetic := sum(clip.synthetic for clip in clips):
        warnings.append(f"{synthetic} of the clips are synthetic speech, not recordings of speakers.")
    return Report(
        title="Vocoder evaluation",
        facts=f"{evaluation.environment['date'][:16].replace('T', ' ')} UTC · model "
        f"{model['hash'][:12] or 'without a checkpoint'} · {model['parameters'] / 1e6:.1f} M parameters · "
        f"{model['sampler']}, {model['steps']} steps · seed {evaluation.settings.seed}",
        lead=lead,
        warnings=warnings,
        sections=[
            _scores(evaluation),
            *_differences(evaluation),
            _examples(evaluation),
            Section("Metrics", terms={metric.label: metric.meaning for metric in REPORT_METRICS.values()}),
            _method(evaluation),
        ],
        data=summary(evaluation),
    )


def summary(evaluation: Evaluation) -> dict:
    """All results, for report.json."""
    block, rows = evaluation.block, evaluation.block.rows
    return {
        "report": "audiodiff",
        "version": VERSION,
        "environment": evaluation.environment,
        "model": evaluation.model,
        "settings": asdict(evaluation.settings),
        "data": {
            "clips": len(evaluation.clips),
            "too_short": evaluation.too_short,
            "seconds": block.seconds,
            "synthetic_clips": sum(clip.synthetic for clip in evaluation.clips),
            "clip_list_sha256": block.clip_list_sha256,
            "manifest_hash": evaluation.manifest_hash,
            "sample_rate": evaluation.sample_rate,
        },
        **describe_scores(REPORT_METRICS),
        "rows": rows_to_json(block),
        "differences": [
            {
                "row": a,
                "other": b,
                "scores": {name: asdict(block.gain(rows[a], rows[b], name)) for name in REPORT_METRICS},
            }
            for a, b in _comparisons(evaluation)
        ],
        "clips": [{key: getattr(clip, key) for key in ("id", "split", "seconds", "text")} for clip in evaluation.clips],
        "seconds": evaluation.seconds,
        "metric_seconds_per_clip": evaluation.metric_seconds,
    }


def outcome(metric: Metric, gain: Interval) -> str:
    """Interpret a difference: "better" or "worse" if its interval excludes 0, else "undecided"."""
    if not gain.clips or gain.low <= 0 <= gain.high:
        return "undecided"
    return "better" if (gain.low > 0) == (metric.better == "higher") else "worse"


def example_clips(evaluation: Evaluation) -> list[int]:
    """Indices of the examples: evenly spaced from short to long, so that the choice is not by hand."""
    order = sorted(range(len(evaluation.clips)), key=lambda i: evaluation.clips[i].seconds)
    low, high = EXAMPLE_SECONDS
    order = [i for i in order if low <= evaluation.clips[i].seconds <= high] or order[:EXAMPLES]
    count = min(EXAMPLES, len(order))
    return [order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count)]


def _comparisons(evaluation: Evaluation) -> list[tuple[str, str]]:
    rows = evaluation.block.rows
    return [(a, b) for a, b in COMPARISONS if a in rows and b in rows]


def _tally(evaluation: Evaluation, row: Row, other: Row) -> str:
    labels: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for name, metric in REPORT_METRICS.items():
        labels[outcome(metric, evaluation.block.gain(row, other, name))].append(metric.label)
    parts = "; ".join(f"{how} on {', '.join(names)}" for how, names in labels.items() if names)
    return f"Compared with {other.label}, clip by clip: {parts}."


def _scores(evaluation: Evaluation) -> Section:
    block, clips = evaluation.block, len(evaluation.clips)

    def score(row: Row, name: str) -> Cell:
        interval, metric = block.interval(row, name), REPORT_METRICS[name]
        if not interval.clips:
            return Cell("–", ("no clip is scored",))
        few = () if interval.clips == clips else (f"{interval.clips} of {clips} clips",)
        ends = f"{metric.format(interval.low)} to {metric.format(interval.high)}"
        return Cell(metric.format(interval.mean), (ends, *few), interval)

    def speed(row: Row) -> Cell:
        factor = row.times_real_time
        return Cell("–" if factor is None else f"{factor:.{0 if factor >= 10 else 1}f}×")

    columns = [
        ("System", ""),
        *((metric.label, metric.direction) for metric in REPORT_METRICS.values()),
        ("Speed", "times real time"),
    ]
    cells = {row.label: [*(score(row, name) for name in REPORT_METRICS), speed(row)] for row in block.rows.values()}
    return Section(
        "Scores",
        f"Means over clips with their {LEVEL:.0%} confidence intervals.",
        Table(columns, cells, [block.rows[name].label for name in TRAINED]),
        {row.label: row.note for row in block.rows.values()},
    )


def _differences(evaluation: Evaluation) -> list[Section]:
    block, pairs = evaluation.block, _comparisons(evaluation)
    if not pairs:
        return []
    kinds = {"better": "good", "worse": "bad", "undecided": "open"}

    def difference(row: Row, other: Row, name: str) -> Cell:
        metric, gain = REPORT_METRICS[name], block.gain(row, other, name)
        result = outcome(metric, gain)
        mean, low, high = (metric.format(value, signed=True) for value in (gain.mean, gain.low, gain.high))
        return Cell(mean, (f"{low} to {high}", result), kind=kinds[result])

    rows = {
        f"{block.rows[a].label} − {block.rows[b].label}": [
            difference(block.rows[a], block.rows[b], name) for name in REPORT_METRICS
        ]
        for a, b in pairs
    }
    text = (
        f"First system minus second, clip by clip, with the {LEVEL:.0%} confidence interval of the mean; undecided if "
        "the interval contains zero."
    )
    columns = [("Comparison", ""), *((metric.label, "") for metric in REPORT_METRICS.values())]
    return [Section("Differences", text, Table(columns, rows))]


def _examples(evaluation: Evaluation) -> Section:
    rate, rows, waveforms = evaluation.sample_rate, evaluation.block.rows, evaluation.waveforms
    shown = ("ground_truth", "network_consistency")
    examples = []
    for i in example_clips(evaluation):
        clip = evaluation.clips[i]
        truth, best = (waveforms[name][i] for name in shown)
        examples.append(
            Example(
                clip.text or clip.id,
                f"{clip.id} · {clip.seconds:.1f} s · {clip.split}",
                {row.label: sound(waveforms[name][i], rate) for name, row in rows.items()},
                [rows[name].label for name in TRAINED],
                spectrogram_pair(truth, best, tuple(rows[name].label for name in shown), rate),
            )
        )
    text = (
        "Clips evenly spaced from short to long; lossless, not normalized. Spectrograms show the 80 dB below the "
        "maximum of the recording."
    )
    return Section("Examples", text, examples=examples)


def _method(evaluation: Evaluation) -> Section:
    environment, seconds, model = evaluation.environment, evaluation.seconds, evaluation.model
    validated = model["validated"]
    times = (f"{REPORT_METRICS[name].label} {1000 * value:.0f}" for name, value in evaluation.metric_seconds.items())
    terms = {
        "Clips": f"{len(evaluation.clips)} of {' and '.join(evaluation.settings.splits)}; "
        f"{evaluation.too_short} shorter than {MIN_SECONDS} s skipped",
        "Clip list (SHA-256)": evaluation.block.clip_list_sha256,
        "Manifest": evaluation.manifest_hash,
        "Intervals": f"percentile bootstrap over clips, {RESAMPLES} resamples, {LEVEL:.0%}, equal weights",
        "Undefined scores": "clips without a score (such as no frame voiced in both, or too short) are excluded from "
        "that mean, and the cell states how many clips remain; silent estimates are scored",
        "Speed": f"seconds of audio per second of work, one clip at a time, {environment['threads']} threads, "
        f"{environment['device']}; from the mel, with mel consistency",
        "Time grid": "stored in the model" if model["grid"] else "the sampler's default",
        "Validated steps": "{} to {}".format(*validated) if validated else "not recorded",
        "Time": f"synthesis {seconds['synthesis']:.0f} s, scoring {seconds['scoring']:.0f} s",
        "Metrics, ms per clip": ", ".join(times),
        "Model": model["hash"],
        "Training": json.dumps(plain(model["training"]), ensure_ascii=False),
        **{name.replace("_", " "): str(value) for name, value in environment.items()},
    }
    return Section("Method", terms=terms)
