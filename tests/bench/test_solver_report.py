import json
import math

import pytest
import solver_report as report
from solver_report import COMMON, RECOMMENDED, Record

BUDGETS = [5, 10, 20]


def records(recommended, peer="azula x", best=(0.1, 0.01, 0.001), common=(0.5, 0.2, 0.02)):
    rows = {RECOMMENDED: recommended, peer: best, COMMON: common}
    return [
        Record(name, problem, budget, budget, error * factor, 2 * error, flips)
        for name, errors in rows.items()
        for budget, error in zip(BUDGETS, errors, strict=True)
        for problem, factor, flips in (("a/0", 2.0, 4.0), ("gauss/0", 0.5, math.nan))
    ]


def compared(recommended):
    return report.compare(report.rows(records(recommended)), BUDGETS)


def test_a_row_is_the_geometric_mean_of_medians():
    row = report.rows(records((0.1, 0.01, 0.001)))[RECOMMENDED]
    assert [row.error(budget) for budget in BUDGETS] == pytest.approx([0.1, 0.01, 0.001])
    assert report.geometric_mean([]) == report.geometric_mean([1.0, math.nan]) == math.inf


def test_the_best_peer_is_found_and_ours_are_no_peers():
    found = compared((0.05, 0.0101, 0.002))
    assert [c.peer for c in found] == ["azula x"] * 3
    assert [c.ratio for c in found] == pytest.approx([0.5, 1.01, 2.0])
    assert [c.tie for c in found] == [False, True, False]
    assert [c.common for c in found] == pytest.approx([0.5, 0.2, 0.02])


@pytest.mark.parametrize(
    ("recommended", "holding"),
    [
        ((0.05, 0.005, 0.0005), (True, True, True)),
        ((0.05, 0.0101, 0.0005), (True, False, True)),
        ((0.05, 0.0103, 0.0005), (False, False, True)),
        ((0.05, 0.005, 0.0026), (False, False, False)),
        ((math.inf, 0.005, 0.0005), (False, False, True)),
    ],
)
def test_verdicts(recommended, holding):
    lines = report.verdicts(compared(recommended))
    assert tuple("**holds**" in line for line in lines) == holding
    assert tuple("**fails**" in line for line in lines) == tuple(not held for held in holding)


def test_verdicts_name_the_budgets_that_fail():
    lines = report.verdicts(compared((0.05, 0.03, 0.0026)))
    assert lines[0].endswith("**fails** at 10, 20 nfe")
    assert lines[2].endswith("**fails** at 10, 20 nfe")


def test_unattained_budgets_and_divergence_are_shown():
    extra = [Record("diffusers Heun", "a/0", budget, budget - 1, math.inf, math.inf, math.nan) for budget in BUDGETS]
    table = report.error_table(report.rows(records((0.05, 0.005, 0.0005)) + extra), BUDGETS)
    assert "| diffusers Heun | - [4] | - [9] | - [19] |" in table
    assert table.splitlines()[2].startswith(f"| {RECOMMENDED} | 0.0500 | 5.00e-03 | 5.00e-04 |")


def test_flips_are_averaged_over_mixtures_alone():
    table = report.tail_table(report.rows(records((0.05, 0.005, 0.0005))), BUDGETS)
    assert table.splitlines()[2].startswith(f"| {RECOMMENDED} | 4.0 | 4.0 | 4.0 | 0.1000 | 0.0100 | 1.00e-03 |")


def test_the_files_are_written(tmp_path):
    made = [*records((0.05, 0.005, 0.0005)), Record("official y", "a/0", 5, 5, math.inf, math.inf, math.nan)]
    text = report.write(made, BUDGETS, "measured somewhere", {"cpu": "fast"}, tmp_path)
    assert (tmp_path / "solvers.md").read_text() == text and "measured somewhere" in text
    assert (tmp_path / "solvers.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "solvers.json").read_text())
    assert kept["environment"] == {"cpu": "fast"} and kept["budgets"] == BUDGETS
    assert kept["samplers"][RECOMMENDED]["a/0"]["5"] == [5, 0.1, 0.1, 4.0]
    assert kept["samplers"]["official y"]["a/0"]["5"] == [5, None, None, None]
    assert [c["ratio"] for c in kept["comparison"]] == pytest.approx([0.5, 0.5, 0.5])
