"""The acceptance check accepts a good report and refuses each kind of bad one."""

import copy
import json

import acceptance
import pytest

REPORT_METRICS = {
    "pesq": "higher",
    "stoi": "higher",
    "dnsmos": "higher",
    "mcd": "lower",
    "f0_rmse": "lower",
    "voicing_f1": "higher",
}


@pytest.fixture
def report():
    """Each row is better than the one before it, on every metric."""
    order = ["noise", "untrained", "griffin_lim", "world", "noise_consistency", "network", "network_consistency"]
    rows = {
        name: {"scores": {j: {"mean": float(i if way == "higher" else -i)} for j, way in REPORT_METRICS.items()}}
        for i, name in enumerate([*order, "ground_truth"])
    }
    metrics = {name: {"better": way} for name, way in REPORT_METRICS.items()}
    return {"rows": rows, "metrics": metrics, "data": {"clips": 54}}


def test_a_good_report_passes(report, tmp_path, capsys):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    assert acceptance.main(path) == 0
    assert "goal missed" not in capsys.readouterr().out


def test_a_missed_goal_is_printed_and_not_fatal(report, tmp_path, capsys):
    report["rows"]["network_consistency"]["scores"]["mcd"]["mean"] = 10.0
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    assert acceptance.main(path) == 0
    (missed,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("goal missed")]
    assert "better than griffin_lim on mcd: -12.000" in missed


def test_requirements_are_checked(report):
    assert acceptance.failures(report) == []

    def failures_after(change):
        other = copy.deepcopy(report)
        change(other)
        return acceptance.failures(other)

    assert "the row world is missing" in failures_after(lambda r: r["rows"].pop("world"))
    assert failures_after(lambda r: r["data"].update(clips=49)) == ["49 clips were scored, 50 are required"]
    for value in (None, float("nan")):
        assert failures_after(lambda r, v=value: r["rows"]["noise"]["scores"]["stoi"].update(mean=v)) == [
            "noise has no finite stoi"
        ]
    assert failures_after(lambda r: r["rows"]["network"]["scores"]["pesq"].update(mean=1.0)) == [
        "training did not raise pesq"
    ]
