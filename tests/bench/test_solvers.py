import math

import pytest
import solver_ours
import solvers
import torch
from solver_problems import KINDS

from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.schedules.schedule import LinearBeta

PURE = math.pi / 2


@pytest.fixture(scope="module")
def problem():
    return KINDS["gauss"](0)


def even_angle_ddim(problem, nfe):
    z = problem.noise
    for n in range(nfe, 0, -1):
        t, s = n / nfe * PURE, (n - 1) / nfe * PURE
        alpha = math.sin(PURE - t)
        x0 = problem.x0(z, alpha, math.sin(t))
        z = math.cos(s) * x0 + math.sin(s) * (z - alpha * x0) / math.sin(t)
    return z


def test_our_answer_is_the_samplers_between_the_ends_of_its_grid(problem):
    answer = solver_ours.answer(problem, DDIM(6))
    assert (answer.start, answer.stop, answer.nfe) == (PURE, 0.0, 6)
    assert torch.allclose(answer.y, even_angle_ddim(problem, 6), atol=1e-12)
    assert solver_ours.error(problem, DDIM(6)) == problem.errors(answer).median


def test_a_given_grid_sets_both_ends(problem):
    answer = solver_ours.answer(problem, DDIM(2, grid=torch.tensor([0.9, 0.5, 0.1])))
    assert (answer.start, answer.stop) == pytest.approx((0.9 * PURE, 0.1 * PURE))
    assert problem.errors(answer).median < 0.5


def test_another_schedule_meets_the_same_problem(problem):
    answer = solver_ours.answer(problem, DDIM(40), LinearBeta())
    assert answer.stop == 0 and answer.start == pytest.approx(PURE, abs=0.01)
    assert problem.errors(answer).median < 0.1


def test_every_preset_without_noise_and_the_recommended_one_are_run():
    names = solver_ours.names()
    assert {"ddim", "dpmpp_2m", "v_3m", "recommended"} <= set(names)
    assert "ddpm" not in names


def test_budgets_that_a_sampler_cannot_meet_are_left_out(problem):
    assert solver_ours.run("v_3m", problem, 1) is None
    assert solvers.run(["gauss"], [0], (1, 2), {"audiodiff v_3m": lambda p, n: solver_ours.run("v_3m", p, n)}) == []


def test_records_hold_what_was_measured(problem):
    samplers = {name: peer for name, peer in solvers.ours().items() if name.endswith(" ddim")}
    records = solvers.run(["gauss", "a"], [0, 1], (5, 8), samplers)
    assert [(r.problem, r.budget, r.nfe) for r in records] == [
        (f"{kind}/{seed}", nfe, nfe) for kind in ("gauss", "a") for seed in (0, 1) for nfe in (5, 8)
    ]
    errors = problem.errors(solver_ours.answer(problem, DDIM(5)))
    assert (records[0].median, records[0].rms) == pytest.approx((errors.median, errors.rms), rel=1e-12)
    assert math.isnan(records[0].flips) and records[-1].flips >= 0
