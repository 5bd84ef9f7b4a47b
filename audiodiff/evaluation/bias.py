"""Bias: whether the quality of a model depends on who speaks, in which language, how high and how loudly.

Held-out clips are grouped by an attribute: speaker and language as the manifest states them, what a table states of
speakers (such as their sex, which is never guessed), and thirds of the clips by the pitch and loudness of the
recording. In each group every score is compared with those of all other clips. So that a poor recording does not count
as a poor model, what is compared is the change from the recording to the model's output.

Differences are of unweighted means, by Welch's t test, which allows for unequal variances (B. L. Welch, Biometrika
34, 1947). A report makes many comparisons: intervals have the level at which, by Bonferroni's inequality, all of them
hold at once with `LEVEL`. Attributes are confounded: where each language has one speaker, a difference of languages is
one of speakers and of microphones, too.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from scipy.stats import ttest_ind

from audiodiff.audio.loudness import lufs
from audiodiff.audio.pitch import yin
from audiodiff.data.manifest import Clip
from audiodiff.errors import UserError
from audiodiff.evaluation.record import Block
from audiodiff.evaluation.report import Cell, Report, Section, Table
from audiodiff.evaluation.speech_metrics import ALL_METRICS
from audiodiff.evaluation.statistics import LEVEL, Interval
from audiodiff.evaluation.vocoder_report import outcome

RECORDINGS = "ground_truth"
MIN_CLIPS = 5  # of a group, and of the others, to be compared
_THIRDS = 3
_HOP_SECONDS = 0.01
_PERIODIC = 0.3  # aperiodicity of a voiced frame, at most


class Evaluated(Protocol):
    """An evaluation of a vocoder or a voice."""

    clips: list[Clip]
    block: Block
    waveforms: dict[str, list[np.ndarray]]
    sample_rate: int
    model: dict
    environment: dict


@dataclass(frozen=True)
class Group:
    """Clips with a common value of an attribute: their numbers (clips,), and each metric's difference to the others.

    A difference over no clips is one that cannot be computed.
    """

    name: str
    clips: np.ndarray
    means: dict[str, Interval]
    differences: dict[str, Interval]


def bias_report(evaluation: Evaluated, system: str, speakers: Mapping[str, Mapping[str, str]]) -> Report:
    """The report of all attributes that divide the clips.

    Args:
        evaluation: of which every clip is scored.
        system: the row that is examined.
        speakers: attributes of speakers by name, as of `read_speakers`.
    """
    values = attributes(evaluation, speakers)
    names = {name: list(dict.fromkeys(filter(None, own))) for name, own in values.items()}
    divided = {name: own for name, own in values.items() if len(names[name]) > 1}
    row, truth = evaluation.block.rows[system], evaluation.block.rows[RECORDINGS]
    metrics = [name for name in evaluation.block.metrics if name in row.scores]
    changes = {name: row.scores[name] - truth.scores.get(name, np.zeros(len(evaluation.clips))) for name in metrics}
    level = 1 - (1 - LEVEL) / max(len(metrics) * sum(len(names[name]) for name in divided), 1)
    found = {
        name: [_group(evaluation.block, system, own, value, changes, level) for value in names[name]]
        for name, own in divided.items()
    }
    return _report(evaluation, row.label, found, metrics, level)


def attributes(evaluation: Evaluated, speakers: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """By attribute, its value of each clip; empty where it is unknown."""
    clips, recordings, rate = evaluation.clips, evaluation.waveforms[RECORDINGS], evaluation.sample_rate
    found = {"speaker": [clip.speaker for clip in clips], "language": [clip.language for clip in clips]}
    for name in dict.fromkeys(key for own in speakers.values() for key in own):
        found[name] = [speakers.get(clip.speaker, {}).get(name, "") for clip in clips]
    found["pitch"] = thirds([median_pitch(one, rate) for one in recordings], "Hz")
    found["loudness"] = thirds([_loudness(one, rate) for one in recordings], "LUFS")
    return found


def thirds(values: Sequence[float], unit: str) -> list[str]:
    """The third of all values that each is in, by its limits; empty where it is not finite."""
    array = np.array(values, np.float64)
    known = np.isfinite(array)
    if known.sum() < _THIRDS:
        return [""] * len(values)
    limits = np.quantile(array[known], [1 / _THIRDS, 1 - 1 / _THIRDS])
    low, high = (f"{limit:.0f}" for limit in limits)
    names = (f"below {low} {unit}", f"{low} to {high} {unit}", f"above {high} {unit}")
    return [names[int(np.searchsorted(limits, value))] if np.isfinite(value) else "" for value in array]


def median_pitch(samples: np.ndarray, sample_rate: int) -> float:
    """Median fundamental frequency in Hz over the voiced frames of samples (T,); NaN if there is none."""
    hop = round(_HOP_SECONDS * sample_rate)
    f0, aperiodicity = yin(torch.from_numpy(samples)[None], sample_rate, hop, len(samples) // hop)
    voiced = f0[aperiodicity < _PERIODIC]
    return float(voiced.median()) if len(voiced) else float("nan")


def _loudness(samples: np.ndarray, sample_rate: int) -> float:
    return float(lufs(torch.from_numpy(samples), sample_rate))


def read_speakers(path: Path | None) -> dict[str, dict[str, str]]:
    """Attributes of speakers: a table with a column `speaker`, and one for each attribute, such as `sex`.

    Raises:
        UserError: it cannot be read, or has no such columns.
    """
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"cannot be read ({error})", "give a CSV file in UTF-8") from error
    if not rows or "speaker" not in rows[0] or len(rows[0]) < 2:
        raise UserError(path, "has no column speaker and another one", "begin it with a line such as speaker,sex")
    return {
        row["speaker"]: {name: value or "" for name, value in row.items() if name and name != "speaker"} for row in rows
    }


def _group(
    block: Block, system: str, values: Sequence[str], value: str, changes: Mapping[str, np.ndarray], level: float
) -> Group:
    inside = np.array([one == value for one in values])
    known = np.array([bool(one) for one in values])
    own = Block("", 0, [], "", 0, [], weights={name: weight[inside] for name, weight in block.weights.items()})
    row = block.rows[system]
    own.rows[system] = type(row)(row.label, scores={name: scores[inside] for name, scores in row.scores.items()})
    return Group(
        value,
        np.flatnonzero(inside),
        {name: own.interval(own.rows[system], name) for name in changes},
        {name: difference(change[inside], change[known & ~inside], level) for name, change in changes.items()},
    )


def difference(values: np.ndarray, others: np.ndarray, level: float) -> Interval:
    """Difference of the means of the finite values, with its interval by Welch's t test.

    Over no clips if one of both has fewer than `MIN_CLIPS`, or all are equal.
    """
    values, others = (some[np.isfinite(some)] for some in (values, others))
    if min(len(values), len(others)) < MIN_CLIPS or not max(values.std(), others.std()) > 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    limits = ttest_ind(values, others, equal_var=False).confidence_interval(level)
    return Interval(float(values.mean() - others.mean()), float(limits.low), float(limits.high), len(values))


def _report(
    evaluation: Evaluated, label: str, found: Mapping[str, Sequence[Group]], metrics: Sequence[str], level: float
) -> Report:
    worse = [
        f"{attribute} {group.name}: {metric.label} {metric.format(gain.mean, signed=True)} "
        f"({metric.format(gain.low, signed=True)} to {metric.format(gain.high, signed=True)})"
        for attribute, groups in found.items()
        for group in groups
        for metric, gain in ((ALL_METRICS[name], gain) for name, gain in group.differences.items())
        if outcome(metric, gain) == "worse"
    ]
    count = sum(gain.clips > 0 for groups in found.values() for group in groups for gain in group.differences.values())
    model, clips = evaluation.model, evaluation.clips
    lead = [
        f"{label} on {len(clips)} held-out clips, {count} comparisons of a group with all others; intervals of "
        f"differences hold at once with {LEVEL:.0%}.",
        f"Worse than for the others: {'; '.join(worse)}." if worse else "No group is worse than the others.",
    ]
    missing = [name for name in ("speaker", "language", "pitch", "loudness") if name not in found]
    warnings = [f"All clips have one {name} or none." for name in missing]
    return Report(
        title="Quality by group",
        facts=f"{evaluation.environment['date'][:16].replace('T', ' ')} UTC · model {model['hash'][:12]} · "
        f"{model['parameters'] / 1e6:.1f} M parameters",
        lead=lead,
        warnings=warnings,
        sections=[
            *(_section(name, groups, metrics) for name, groups in found.items()),
            Section("Metrics", terms={ALL_METRICS[name].label: ALL_METRICS[name].meaning for name in metrics}),
            Section(
                "Method",
                text="Below each mean its 95 % interval (bootstrap over clips), then the difference of the change from "
                f"the recording to the output, between the group and all other clips, at a level of {level:.3%} "
                "(Welch's t test, Bonferroni). Attributes are confounded with each other and with recording "
                "conditions; clips of one speaker tell of this speaker alone.",
            ),
        ],
        data=_data(evaluation, found),
    )


def _section(attribute: str, groups: Sequence[Group], metrics: Sequence[str]) -> Section:
    columns = [(attribute.capitalize(), ""), ("Clips", ""), *((ALL_METRICS[name].heading, "") for name in metrics)]
    rows = {
        group.name: [Cell(str(len(group.clips))), *(_cell(group, name) for name in metrics)]
        for group in sorted(groups, key=_order)
    }
    return Section(f"By {attribute}", table=Table(columns, rows))


def _order(group: Group) -> tuple[bool, bool, int]:
    """Thirds by their values, others by their size."""
    return group.name.startswith("above "), not group.name.startswith("below "), -len(group.clips)


def _cell(group: Group, name: str) -> Cell:
    metric, mean, gain = ALL_METRICS[name], group.means[name], group.differences[name]
    if not mean.clips:
        return Cell("–")
    notes = [f"{metric.format(mean.low)} to {metric.format(mean.high)}"]
    kind = ""
    if gain.clips:
        kind = {"better": "good", "worse": "bad", "undecided": ""}[outcome(metric, gain)]
        low, high = (metric.format(limit, signed=True) for limit in (gain.low, gain.high))
        notes.append(f"{metric.format(gain.mean, signed=True)} ({low} to {high}){f', {kind}' if kind else ''}")
    return Cell(metric.format(mean.mean), ("; ".join(notes),), mean, kind)


def _data(evaluation: Evaluated, found: Mapping[str, Sequence[Group]]) -> dict[str, Any]:
    return {
        "report": "audiodiff bias",
        "environment": evaluation.environment,
        "model": evaluation.model,
        "clips": [clip.id for clip in evaluation.clips],
        "attributes": {
            attribute: {
                group.name: {
                    "clips": group.clips.tolist(),
                    "means": {name: vars(mean) for name, mean in group.means.items()},
                    "differences": {name: vars(gain) for name, gain in group.differences.items()},
                }
                for group in groups
            }
            for attribute, groups in found.items()
        },
    }
