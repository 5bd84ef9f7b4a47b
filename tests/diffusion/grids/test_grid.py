import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta

GRIDS = [grid.uniform_t, grid.uniform_log_snr, grid.karras, grid.balanced]


@pytest.mark.parametrize("make", GRIDS)
@pytest.mark.parametrize("schedule", [Cosine(), LinearBeta(), LinearBeta(0.1, 5.0)], ids=["cosine", "linear", "short"])
@pytest.mark.parametrize("nfe", [1, 2, 3, 6, 50, 400])
def test_grids_fall_to_zero(make, schedule, nfe):
    times = make(schedule, nfe)
    assert times.dtype == torch.float64 and times.shape == (nfe + 1,)
    assert (times.diff() < 0).all()
    assert 0 < times[0] <= 1 and times[-1] == 0


def test_uniform_t_is_even():
    assert torch.allclose(grid.uniform_t(Cosine(), 4), torch.tensor([1, 0.75, 0.5, 0.25, 0]).double())
    assert grid.uniform_t(Cosine(), 2, 0.8, 0.2).tolist() == pytest.approx([0.8, 0.5, 0.2])


def test_uniform_log_snr_is_even(schedule):
    times = grid.uniform_log_snr(schedule, 8, -6.0, 4.0, to_zero=False)
    assert torch.allclose(schedule.log_snr(times), torch.linspace(-6, 4, 9, dtype=torch.float64), atol=1e-10)
    times = grid.uniform_log_snr(schedule, 8, -6.0, 4.0)
    assert torch.allclose(schedule.log_snr(times[:-1]), torch.linspace(-6, 4, 8, dtype=torch.float64), atol=1e-10)


def test_karras_is_even_in_its_root(schedule):
    times = grid.karras(schedule, 9, 7.0, -8.0, 8.0, to_zero=False)
    root = torch.exp(-schedule.half_log_snr(times) / 7)
    assert torch.allclose(root.diff(), root.diff()[:1].expand(9), rtol=1e-8)
    assert schedule.log_snr(times)[[0, -1]].tolist() == pytest.approx([-8, 8])


def test_karras_tends_to_uniform_log_snr():
    far = grid.karras(Cosine(), 10, rho=1e6)
    assert torch.allclose(far, grid.uniform_log_snr(Cosine(), 10), atol=1e-5)


def test_default_bounds():
    """log_snr of +-10, rho of 7, and +-9 for the balanced grid however many the calls."""
    schedule = Cosine()
    assert torch.equal(grid.uniform_log_snr(schedule, 5), grid.uniform_log_snr(schedule, 5, -10.0, 10.0))
    assert torch.equal(grid.karras(schedule, 5), grid.karras(schedule, 5, 7.0, -10.0, 10.0))
    assert schedule.log_snr(grid.balanced(schedule, 200)[[1, -2]]).tolist() == pytest.approx([-9, 9], rel=1e-12)


def test_bounds_stop_at_the_schedule():
    short = LinearBeta(0.1, 5.0)
    assert grid.uniform_log_snr(short, 4)[0] == pytest.approx(1.0)
    assert grid.karras(short, 4)[0] == pytest.approx(1.0)
    assert grid.balanced(short, 20)[0] == pytest.approx(1.0)


def test_balanced_spans_the_inverse_of_its_calls():
    times = grid.balanced(Cosine(), 6)
    ratio = torch.exp(-Cosine().half_log_snr(times[1:-1]))
    assert times[0] == 1 and ratio[0] == pytest.approx(6) and ratio[-1] == pytest.approx(1 / 6)
    assert torch.allclose(ratio.log().diff(), ratio.log().diff()[:1].expand(4))
    assert grid.balanced(Cosine(), 6, 0.98)[0] == 0.98


@pytest.mark.parametrize(
    "times, message",
    [
        ([1.0, 0.5, 0.5, 0.0], "time 1 is 0.5 and time 2 0.5"),
        ([1.0, 0.2, 0.3, 0.0], "time 1 is 0.2"),
        ([0.5], "at least two"),
        ([[1.0, 0.0]], "one dimension"),
        ([1.0, float("nan"), 0.0], r"\[0, 1\]"),
        ([1.5, 0.0], r"\[0, 1\]"),
        ([1.0, -0.1], r"\[0, 1\]"),
    ],
)
def test_check_refuses(times, message):
    with pytest.raises(ValueError, match=message):
        grid.check(torch.tensor(times, dtype=torch.float64))


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=6))
def test_check_accepts_exactly_falling_times(times):
    good = len(times) > 1 and all(0 <= t <= 1 for t in times)
    good = good and all(a > b for a, b in pairwise(times))
    try:
        grid.check(torch.tensor(times, dtype=torch.float64))
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == good


def test_leaning_is_the_warp_of_even_angles():
    """Angles of a / (a + s), a = (1 - s)^1.5, at s = 1/4, 1/2, 3/4, in quarter turns of the cosine schedule."""
    expected = [1.0]
    for s in (0.25, 0.5, 0.75):
        a = (1 - s) ** 1.5
        expected.append(a / (a + s))
    times = grid.warped_angle(Cosine(), 4)
    assert torch.allclose(times, torch.tensor([*expected, 0.0], dtype=torch.float64), rtol=0, atol=1e-14)
    assert torch.allclose(grid.warped_angle(Cosine(), 7, rho=1.0), grid.uniform_t(Cosine(), 7), rtol=0, atol=1e-14)
    assert grid.warped_angle(Cosine(), 1).tolist() == [1.0, 0.0]


def test_leaning_is_a_grid_of_angles_on_any_schedule(schedule):
    times = grid.warped_angle(schedule, 6, 0.9)
    level, middle = schedule.level(0.9), schedule.levels(times)[3]
    angle = math.atan2(level.sigma, level.alpha)
    a = 0.5**1.5
    assert times[0] == 0.9 and times[-1] == 0 and len(times) == 7
    assert math.atan2(middle.sigma, middle.alpha) == pytest.approx(angle * a / (a + 0.5), rel=1e-12)


def test_rho_below_one_is_refused():
    with pytest.raises(ValueError, match="rho must be at least 1"):
        grid.warped_angle(Cosine(), 4, rho=0.5)
