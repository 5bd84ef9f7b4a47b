"""The overhead bench walks what it says: the same method, the same number of steps."""

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra bench is not installed")

import overhead

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_every_pair_is_measured_at_every_shape():
    rows = overhead.measure(((1, 1, 64), (2, 1, 32)), steps=5, rounds=2)
    assert len(rows) == 2 * len(overhead.PAIRS)
    assert all(cost > 0 for row in rows for cost in (*row.ours, *row.theirs))
    assert {row.peer for row in rows} == {
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    }
    lines = overhead.table(rows).splitlines()
    assert len(lines) == 2 + len(rows) and len({line.count("|") for line in lines}) == 1


def test_a_call_is_its_table_and_its_steps():
    assert overhead.Cost(table=3.0, step=0.5).of_call(4) == 5.0
    costs = [overhead.Cost(1.0, 10.0), overhead.Cost(3.0, 30.0), overhead.Cost(2.0, 0.0)]
    assert overhead.median(costs) == (2.0, 10.0)


def test_the_stored_denoiser_answers_what_it_holds():
    x0 = torch.randn(1, 1, 4)
    assert overhead.Stored(x0)(torch.zeros(1, 1, 4), 0.5) is x0
