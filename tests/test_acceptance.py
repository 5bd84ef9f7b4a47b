"""The acceptance check tells a good report from each kind of bad one."""

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


def test_a_good_report_is_accepted(report, tmp_path, capsys):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    assert acceptance.main(path) == 0
    assert "aim missed" not in capsys.readouterr().out


def test_a_missed_aim_is_told_and_not_fatal(report, tmp_path, capsys):
    report["rows"]["network_consistency"]["scores"]["mcd"]["mean"] = 10.0
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    assert acceptance.main(path) == 0
    (missed,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("aim missed")]
    assert "better than griffin_lim on mcd: -12.000" in missed


def test_what_must_hold_is_held(report):
    assert acceptance.failures(report) == []

    def spoilt(change):
        other = copy.deepcopy(report)
        change(other)
        return acceptance.failures(other)

    assert "the row world is missing" in spoilt(lambda r: r["rows"].pop("world"))
    assert spoilt(lambda r: r["data"].update(clips=49)) == ["49 clips were scored, 50 are asked for"]
    for value in (None, float("nan")):
        assert spoilt(lambda r, v=value: r["rows"]["noise"]["scores"]["stoi"].update(mean=v)) == [
            "noise has no finite stoi"
        ]
    assert spoilt(lambda r: r["rows"]["network"]["scores"]["pesq"].update(mean=1.0)) == ["training did not raise pesq"]
