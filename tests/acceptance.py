"""`python tests/acceptance.py REPORT.json`: check the report of `make speech`.

Exits with status 1 unless the report has all rows, enough clips and only finite scores, and training improved on the
untrained network. Further goals are printed, reached or not.
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
# Metrics that improve even after a short training.
QUALITY = ("pesq", "stoi")


def mean(report: dict, row: str, metric: str) -> float:
    """Mean score of a row; NaN if the report has none."""
    value = report["rows"].get(row, {}).get("scores", {}).get(metric, {}).get("mean")
    return math.nan if value is None else value


def improvement(report: dict, row: str, other: str, metric: str) -> float:
    """Improvement of `row` over `other`, in the metric's unit; negative if it is worse."""
    sign = 1 if report["metrics"][metric]["better"] == "higher" else -1
    return sign * (mean(report, row, metric) - mean(report, other, metric))


def failures(report: dict) -> list[str]:
    """Failed requirements, one line each."""
    found = [f"the row {row} is missing" for row in ROWS if row not in report["rows"]]
    clips = report["data"]["clips"]
    if clips < CLIPS:
        found.append(f"{clips} clips were scored, {CLIPS} are required")
    for row in report["rows"]:
        for metric in report["metrics"]:
            if not math.isfinite(mean(report, row, metric)):
                found.append(f"{row} has no finite {metric}")
    for metric in QUALITY:
        if not improvement(report, "network", "untrained", metric) > 0:
            found.append(f"training did not raise {metric}")
    return found


def goals_reached(report: dict) -> list[tuple[str, bool]]:
    """Goals with their numbers, and whether they are reached."""
    goals = [("network_consistency", "griffin_lim", metric, 0) for metric in report["metrics"]]
    goals += [("network_consistency", "noise_consistency", metric, 0) for metric in ("dnsmos", "voicing_f1")]
    goals += [("network", "untrained", "pesq", 0.3)]
    found = []
    for row, other, metric, by in goals:
        gain = improvement(report, row, other, metric)
        found.append((f"{row} better than {other} on {metric}{f' by {by}' if by else ''}: {gain:+.3f}", gain > by))
    return found


def main(path: Path) -> int:
    """Print the result for a report.json; return the exit status."""
    report = json.loads(path.read_text(encoding="utf-8"))
    for text, reached in goals_reached(report):
        print(f"goal {'reached' if reached else 'missed '}  {text}")
    found = failures(report)
    for line in found:
        print(f"FAILED  {line}")
    print(f"{path}: {'failed' if found else 'accepted'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
