"""Singlestep methods against closed forms and the published algorithms, written out."""

import math
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.noise import step_noise
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.integral import Integral
from audiodiff.diffusion.samplers.singlestep import (
    EULER,
    HEUN,
    MIDPOINT,
    THIRD,
    Singlestep,
    Tableau,
    fast_split,
    interval_rows,
    level_between,
    stage_rows,
)
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, SubVP, VarianceExploding

SCHEDULES = [Cosine(), LinearBeta(), VarianceExploding(), SubVP(), RectifiedFlow()]
GUISES = [(p, c) for p in ("x0", "epsilon", "v") for c in ("half_log_snr", "angle", "ratio", "t")]


def _gaussian(oracle, schedule):
    return GaussianOracle(oracle.mean, oracle.covariance, schedule)


def _place(level, coordinate):
    ratio = level.sigma / level.alpha
    return {"half_log_snr": -math.log(ratio), "angle": math.atan(ratio), "ratio": ratio, "t": level.t}[coordinate]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("coordinate", ["half_log_snr", "angle", "ratio", "t"])
def test_levels_lie_at_fractions_of_the_coordinate(schedule, coordinate):
    integral = Integral(schedule, "x0", coordinate)
    start, stop = schedule.level(0.8), schedule.level(0.3)
    assert level_between(integral, start, stop, 0) is start and level_between(integral, start, stop, 1) is stop
    for fraction in (0.25, 0.7):
        between = _place(level_between(integral, start, stop, fraction), coordinate)
        expected = (1 - fraction) * _place(start, coordinate) + fraction * _place(stop, coordinate)
        assert between == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", [Cosine(), VarianceExploding()], ids=["cosine", "exploding"])
@pytest.mark.parametrize("predict, coordinate", GUISES)
@pytest.mark.parametrize(
    "tableau, degrees",
    [(EULER, (0,)), (MIDPOINT, (0, 0)), (HEUN, (0, 1)), (THIRD, (0, 1, 1))],
    ids=["euler", "midpoint", "heun", "third"],
)
def test_every_stage_is_exact_on_polynomials(tableau, degrees, predict, coordinate, schedule):
    """Each row's weights integrate c^j over its span as those of the exact solution do, through nodes of their own."""
    integral = Integral(schedule, predict, coordinate)
    start, stop = schedule.level(0.62), schedule.level(0.4)
    stages = [level_between(integral, start, stop, r) for r in tableau.fractions]
    rows = stage_rows(integral, tableau, stages, stop)
    origin, width = _place(start, coordinate), _place(stop, coordinate) - _place(start, coordinate)
    assert [row.t for row in rows] == [stage.t for stage in stages]
    for i, (row, degree, end) in enumerate(zip(rows, degrees, [*stages[1:], stop], strict=True)):
        assert row.carry == (0.0,) * i + (integral.carry(start, end),)
        assert row.feature == integral.feature(stages[i]) and row.noise == 0
        newest_first = stages[i::-1]
        for j in range(degree + 1):
            total = sum(
                w * ((_place(s, coordinate) - origin) / width) ** j
                for w, s in zip(row.weights, newest_first, strict=False)
            )
            # The exact moment by many nodes of a high order, whose own exactness `integral` is tested for.
            many = [level_between(integral, start, end, (k + 0.5) / 12) for k in range(12)]
            fine = integral.weights(many, start, end)
            exact = sum(w * ((_place(s, coordinate) - origin) / width) ** j for w, s in zip(fine, many, strict=True))
            assert total == pytest.approx(exact, rel=1e-9)


def test_tableaus_are_the_published_rules():
    """With a constant kernel: the midpoint rule, the trapezoid, and Heun's third-order rule."""
    integral = Integral(Cosine(), "v")
    start, stop = integral.schedule.level(1.0), integral.schedule.level(0.6)
    h = -0.4 * math.pi / 2
    expected = {
        MIDPOINT: [(h / 2,), (h,)],
        HEUN: [(h,), (h / 2, h / 2)],
        THIRD: [(h / 3,), (2 * h / 3, 0), (3 * h / 4, 0, h / 4)],
    }
    for tableau, weights in expected.items():
        for row, expected_row in zip(interval_rows(integral, tableau, start, stop), weights, strict=True):
            assert row.weights == pytest.approx(expected_row, abs=1e-14)


def _published_2s(denoiser, x, times, schedule, predict):
    """DPM-Solver-2 (arXiv 2206.00927, algorithm 1) and DPM-Solver++(2S) (arXiv 2211.01095, algorithm 1), r_1 = 1/2."""
    for t, s in pairwise(times):
        lam_t, lam_s = schedule.half_log_snr(t), schedule.half_log_snr(s)
        h = lam_s - lam_t
        m = schedule.t_from_log_snr(lam_t + lam_s)
        (a_t, a_m, a_s), (s_t, s_m, s_s) = ([f(u) for u in (t, m, s)] for f in (schedule.alpha, schedule.sigma))
        if predict == "epsilon":
            u = a_m / a_t * x - s_m * torch.expm1(h / 2) * _noise(denoiser, x, t)
            x = a_s / a_t * x - s_s * torch.expm1(h) * _noise(denoiser, u, m)
        else:
            u = s_m / s_t * x - a_m * torch.expm1(-h / 2) * denoiser(x, t)
            x = s_s / s_t * x - a_s * torch.expm1(-h) * denoiser(u, m)
    return x


def _published_3s(denoiser, x, times, schedule, predict):
    """DPM-Solver-3 (arXiv 2206.00927, algorithm 2), and the same for x0."""
    for t, s in pairwise(times):
        lam_t, lam_s = schedule.half_log_snr(t), schedule.half_log_snr(s)
        h = lam_s - lam_t
        t1, t2 = (schedule.t_from_log_snr(2 * (lam_t + r * h)) for r in (1 / 3, 2 / 3))
        a, sg = ([f(u) for u in (t, t1, t2, s)] for f in (schedule.alpha, schedule.sigma))
        if predict == "epsilon":
            e = _noise(denoiser, x, t)
            u1 = a[1] / a[0] * x - sg[1] * torch.expm1(h / 3) * e
            d1 = _noise(denoiser, u1, t1) - e
            u2 = a[2] / a[0] * x - sg[2] * torch.expm1(2 * h / 3) * e
            u2 = u2 - sg[2] * 2 * (torch.expm1(2 * h / 3) / (2 * h / 3) - 1) * d1
            d2 = _noise(denoiser, u2, t2) - e
            x = a[3] / a[0] * x - sg[3] * torch.expm1(h) * e - sg[3] * 1.5 * (torch.expm1(h) / h - 1) * d2
        else:
            e = denoiser(x, t)
            u1 = sg[1] / sg[0] * x - a[1] * torch.expm1(-h / 3) * e
            d1 = denoiser(u1, t1) - e
            u2 = sg[2] / sg[0] * x - a[2] * torch.expm1(-2 * h / 3) * e
            u2 = u2 + a[2] * 2 * (torch.expm1(-2 * h / 3) / (2 * h / 3) + 1) * d1
            d2 = denoiser(u2, t2) - e
            x = sg[3] / sg[0] * x - a[3] * torch.expm1(-h) * e + a[3] * 1.5 * (torch.expm1(-h) / h + 1) * d2
    return x


def _noise(denoiser, x, t):
    alpha, sigma = (f(t) for f in (denoiser.schedule.alpha, denoiser.schedule.sigma))
    return (x - alpha * denoiser(x, float(t))) / sigma


@pytest.mark.parametrize("predict", ["epsilon", "x0"])
@pytest.mark.parametrize("order, published", [(2, _published_2s), (3, _published_3s)])
def test_equals_the_published_algorithms(order, published, predict, schedule, mixture, x1):
    mixture.schedule = schedule
    times = grid.uniform_log_snr(schedule, 4, -8, 6, to_zero=False)
    solver = Singlestep(4 * order, order, predict, times, split=[order] * 4)
    expected = published(mixture, x1, times, schedule, predict)
    assert torch.allclose(solver(mixture, x1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("predict", ["epsilon", "x0"])
def test_order_one_is_ddim(predict, mixture, x1):
    solver = Singlestep(9, 1, predict)
    times = solver.default_grid(mixture.schedule, 1.0)
    assert torch.allclose(solver(mixture, x1), DDIM(9, grid=times)(mixture, x1), rtol=0, atol=1e-13)


def _slope(solver_of, make_grid, oracle, x1, counts):
    errors = []
    for n in counts:
        times = make_grid(n)
        exact = oracle.flow(x1, float(times[0]), float(times[-1]))
        errors.append(float((solver_of(n, times)(oracle, x1) - exact).square().mean().sqrt()))
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("predict", ["epsilon", "x0", "v"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("schedule", [Cosine(), VarianceExploding()], ids=["cosine", "exploding"])
def test_nominal_order_on_half_log_snr_grids(order, predict, schedule, gaussian, x1):
    seen = _slope(
        lambda n, times: Singlestep(n * order, order, predict, times, split=[order] * n),
        lambda n: grid.uniform_log_snr(schedule, n, -6.0, 6.0, to_zero=False),
        _gaussian(gaussian, schedule),
        x1[:8],
        (180 // order, 360 // order),
    )
    assert order - 0.15 < seen < order + 0.3


@pytest.mark.parametrize("order", [1, 2, 3])
def test_angle_reaches_nominal_order_between_the_pure_ends(order, gaussian, x1):
    seen = _slope(
        lambda n, times: Singlestep(n * order, order, "v", times),
        lambda n: grid.uniform_t(gaussian.schedule, n),
        gaussian,
        x1[:8],
        (60, 120),
    )
    assert order - 0.15 < seen < order + 0.4


@pytest.mark.parametrize(
    "nfe, order, calls",
    [
        (6, 3, [3, 2, 1]),
        (7, 3, [3, 3, 1]),
        (8, 3, [3, 3, 2]),
        (3, 3, [2, 1]),
        (2, 3, [2]),
        (1, 3, [1]),
        (6, 2, [2, 2, 2]),
        (7, 2, [2, 2, 2, 1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_fast_split_is_the_published_one(nfe, order, calls):
    assert fast_split(nfe, order) == calls


@pytest.mark.parametrize(
    "nfe, order, predict, calls",
    [
        (1, 1, "x0", [1]),
        (2, 2, "x0", [1, 1]),
        (3, 3, "x0", [1, 1, 1]),
        (4, 3, "epsilon", [1, 2, 1]),
        (7, 3, "x0", [1, 2, 3, 1]),
        (8, 3, "x0", [1, 3, 3, 1]),
        (6, 2, "epsilon", [1, 2, 2, 1]),
        (7, 3, "v", [1, 3, 3]),
        (6, 3, "v", [3, 3]),
        (5, 2, "v", [1, 2, 2]),
    ],
)
def test_default_split(nfe, order, predict, calls):
    assert Singlestep(nfe, order, predict).nfe_per_interval == calls
    assert Singlestep(nfe, order, predict).intervals == len(calls)


def test_default_split_where_v_meets_an_unbounded_coordinate():
    assert Singlestep(5, 3, "v", coordinate="half_log_snr").nfe_per_interval == [1, 3, 1]
    assert Singlestep(5, 3, "v", coordinate="ratio").nfe_per_interval == [1, 3, 1]
    for coordinate in ("t", "angle"):
        assert Singlestep(6, 3, "v", coordinate=coordinate).nfe_per_interval == [3, 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 36), st.sampled_from([1, 2, 3]), st.sampled_from(["x0", "epsilon", "v"]))
def test_every_row_is_one_call(more, order, predict):
    schedule, nfe = Cosine(), order + more
    solver = Singlestep(nfe, order, predict)
    assert sum(solver.nfe_per_interval) == nfe == sum(fast_split(nfe, order))
    t_max = 0.95 if predict == "epsilon" else 1.0
    times = solver.default_grid(schedule, t_max)
    assert times[0] == t_max and times[-1] == 0
    rows = solver.steps(schedule, times)
    assert len(rows) == nfe
    assert all(a.t > b.t for a, b in pairwise(rows))


def test_default_grid_is_where_steps_begin(schedule):
    for predict, order, every in [
        ("x0", 3, grid.balanced(schedule, 11, 0.9)),
        ("x0", 1, grid.uniform_t(schedule, 11, 0.9)),
        ("v", 3, grid.uniform_t(schedule, 11, 0.9)),
    ]:
        solver = Singlestep(11, order, predict)
        assert torch.equal(solver.default_grid(schedule, 0.9), every[[0, *accumulate(solver.nfe_per_interval)]])
    even = Singlestep(11, 3, coordinate="t")
    begins = grid.uniform_t(schedule, 11, 0.9)[[0, *accumulate(even.nfe_per_interval)]]
    assert torch.equal(even.default_grid(schedule, 0.9), begins)


@pytest.mark.parametrize("predict", ["x0", "epsilon"])
def test_pure_ends_are_ddim_steps_of_even_angle(predict, mixture, x1):
    times = torch.tensor([1.0, 0.4, 0.0], dtype=torch.float64)
    solver = Singlestep(5, 3, predict, times, split=[3, 2])
    even = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2, 0.0], dtype=torch.float64)
    assert torch.allclose(solver(mixture, x1), DDIM(5, grid=even)(mixture, x1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("nfe, bound", [(10, 0.1), (20, 0.04), (50, 0.012)])
@pytest.mark.parametrize("predict", ["x0", "epsilon", "v"])
@pytest.mark.parametrize("order", [2, 3])
def test_default_call_is_near_the_exact_flow(order, predict, nfe, bound, gaussian, x1):
    output = Singlestep(nfe, order, predict)(gaussian, x1)
    assert float((output - gaussian.flow(x1, 1.0, 0.0)).square().mean().sqrt()) < bound


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Singlestep(4, 4), "order is 1, 2 or 3, got 4"),
        (lambda: Singlestep(4, 0), "order is 1, 2 or 3, got 0"),
        (lambda: Singlestep(4, 2, "score"), "predict"),
        (lambda: Singlestep(4, 2, split=[2, 1]), "4 in total"),
        (lambda: Singlestep(4, 2, split=[4]), "1 to 3"),
        (lambda: Singlestep(4, 2, split=[0, 2, 2]), "1 to 3"),
        (lambda: Singlestep(0, 2), "nfe >= 1"),
        (lambda: Singlestep(1, 2), "order 2 needs nfe >= 2, got 1"),
        (lambda: Singlestep(2, 3), "order 3 needs nfe >= 3, got 2"),
        (lambda: Singlestep(4, 2, grid=torch.tensor([1.0, 0.5, 0.0])), "4 times, got 3"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_are_attributes():
    split = [1, 2]
    solver = Singlestep(3, 2, "v", coordinate="t", split=split)
    assert (solver.nfe, solver.order, solver.predict, solver.coordinate, solver.split) == (3, 2, "v", "t", split)
    assert not solver.stochastic


@pytest.mark.parametrize("make", [lambda: Singlestep(7, 3), lambda: Singlestep(7, 2, "v")])
def test_batch_is_singles(make, mixture, x1):
    sampler, noise = make(), step_noise(range(8), 1, 6)
    batch = sampler(mixture, x1[:8], noise=noise)
    for i in range(8):
        single = sampler(mixture, x1[i : i + 1], noise=step_noise([i], 1, 6))
        assert torch.allclose(single, batch[i : i + 1], rtol=0, atol=1e-12)


def test_an_own_tableau():
    """Ralston's rule, from its two numbers: nothing but the tableau says what a method is."""
    ralston = Tableau((0.0, 2 / 3), ((0,), (0, 1)))
    rows = interval_rows(Integral(Cosine(), "v"), ralston, Cosine().level(0.9), Cosine().level(0.5))
    h = -0.4 * math.pi / 2
    assert rows[1].weights == pytest.approx((3 * h / 4, h / 4), rel=1e-12)
