"""`python tests/acceptance.py REPORT.json`: hold a report of `make speech` against what it must show.

What must hold gives status 1 if it does not: every row is there, enough clips were scored, all figures are finite, and
training improved on the untrained network. What is aimed at is printed, reached or not.
"""

import json
import math
import sys
from pathlib import Path

ROWS = (
    "ground_truth",
    "griffin_lim",
    "world",
    "noise",
    "noise_consistency",
    "untrained",
    "network",
    "network_consistency",
)
CLIPS = 50
# Metrics that see whether the network learned anything, however briefly it was trained.
QUALITY = ("pesq", "stoi")


def mean(report: dict, row: str, metric: str) -> float:
    """A row's mean over clips; NaN where the report has none."""
    value = report["rows"].get(row, {}).get("scores", {}).get(metric, {}).get("mean")
    return math.nan if value is None else value


def lead(report: dict, row: str, other: str, metric: str) -> float:
    """By how much `row` is better than `other`, in the metric's unit; below 0 where it is worse."""
    sign = 1 if report["metrics"][metric]["better"] == "higher" else -1
    return sign * (mean(report, row, metric) - mean(report, other, metric))


def failures(report: dict) -> list[str]:
    """What must hold and does not, one line each."""
    found = [f"the row {row} is missing" for row in ROWS if row not in report["rows"]]
    clips = report["data"]["clips"]
    if clips < CLIPS:
        found.append(f"{clips} clips were scored, {CLIPS} are asked for")
    for row in report["rows"]:
        for metric in report["metrics"]:
            if not math.isfinite(mean(report, row, metric)):
                found.append(f"{row} has no finite {metric}")
    for metric in QUALITY:
        if not lead(report, "network", "untrained", metric) > 0:
            found.append(f"training did not raise {metric}")
    return found


def aims(report: dict) -> list[tuple[str, bool]]:
    """(what is aimed at, with the figures; whether it is reached)."""
    wanted = [("network_consistency", "griffin_lim", metric, 0) for metric in report["metrics"]]
    wanted += [("network_consistency", "noise_consistency", metric, 0) for metric in ("dnsmos", "voicing_f1")]
    wanted += [("network", "untrained", "pesq", 0.3)]
    found = []
    for row, other, metric, by in wanted:
        gain = lead(report, row, other, metric)
        found.append((f"{row} better than {other} on {metric}{f' by {by}' if by else ''}: {gain:+.3f}", gain > by))
    return found


def main(path: Path) -> int:
    """Print the verdict on a report.json; the exit status."""
    report = json.loads(path.read_text(encoding="utf-8"))
    for text, reached in aims(report):
        print(f"aim {'reached' if reached else 'missed '}  {text}")
    found = failures(report)
    for line in found:
        print(f"FAILED  {line}")
    print(f"{path}: {'failed' if found else 'accepted'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
