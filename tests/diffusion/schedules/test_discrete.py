import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.schedules.discrete import (
    DiscreteSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_snr,
)
from audiodiff.diffusion.schedules.schedule import LinearBeta, OffsetCosine

TABLES = {
    "linear": linear_betas(),
    "scaled_linear": scaled_linear_betas(),
    "cosine": cosine_betas(),
    "to_noise": zero_terminal_snr(linear_betas()),
    "short": [0.3, 0.1, 0.7, 1.0],
    "single": [0.5],
}
TABLE = pytest.mark.parametrize("betas", TABLES.values(), ids=TABLES)
# Far smaller ones after large ones leave log_snr too flat for float64 to tell times apart to 1e-10.
BETAS = st.lists(st.floats(1e-3, 0.999), min_size=1, max_size=49)


def times(betas):
    return torch.arange(1, len(betas) + 1, dtype=torch.float64) / len(betas)


def alphas_bar(betas):
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)


@TABLE
def test_the_table_is_met_at_its_times(betas):
    schedule = DiscreteSchedule(betas)
    assert torch.allclose(schedule.alpha(times(betas)) ** 2, alphas_bar(betas), rtol=2e-13, atol=0)
    assert torch.allclose(schedule.sigma(times(betas)) ** 2, 1 - alphas_bar(betas), rtol=0, atol=1e-14)
    assert schedule.level(0.0)[:3] == (1.0, 0.0, math.inf)


@TABLE
def test_the_noise_rate_is_constant_in_between(betas):
    schedule = DiscreteSchedule(betas)
    ends_in_noise = betas[-1] == 1
    log_alpha = torch.cat([torch.zeros(1, dtype=torch.float64), alphas_bar(betas).log() / 2])
    for share in (1e-6, 0.25, 0.9):
        between = (torch.arange(len(betas), dtype=torch.float64) + share) / len(betas)
        expected = log_alpha[:-1] + share * log_alpha.diff()
        if ends_in_noise:
            expected[-1] = log_alpha[-2] + math.log(1 - share)
        assert torch.allclose(schedule.alpha(between).log(), expected, rtol=1e-10, atol=1e-15)


@given(BETAS, st.booleans(), st.floats(0, 1))
@settings(deadline=None)
def test_any_table_falls_and_is_inverted(betas, to_noise, t):
    schedule = DiscreteSchedule([*betas, 1.0] if to_noise else betas)
    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    assert (schedule.log_snr(grid).diff() < 0).all()
    assert float(schedule.t_from_log_snr(schedule.log_snr(t))) == pytest.approx(t, abs=1e-10)
    last = schedule.level(1.0)
    assert float(schedule.t_from_log_snr(last.log_snr)) == pytest.approx(1, abs=1e-10)
    if to_noise:
        assert last[:3] == (0.0, 1.0, -math.inf)
        assert float(schedule.t_from_log_snr(-math.inf)) == 1


def test_many_steps_tend_to_the_continuous_process():
    grid = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    errors = []
    for steps in (1000, 4000):
        # beta_i = beta(t_i) / N: with N = 1000 this is the table of DDPM.
        rates = 0.1 + 19.9 * torch.arange(steps, dtype=torch.float64) / (steps - 1)
        table = DiscreteSchedule((rates / steps).tolist())
        errors.append(float((table.log_snr(grid) - LinearBeta().log_snr(grid)).abs().max()))
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.02)


def test_linear_betas_are_ddpm():
    betas = linear_betas()
    assert len(betas) == 1000
    assert (betas[0], betas[-1]) == (1e-4, 0.02)
    assert betas[1] - betas[0] == pytest.approx(0.0199 / 999, rel=1e-12)
    assert linear_betas(3, 0.1, 0.5) == pytest.approx([0.1, 0.3, 0.5], rel=1e-15)


def test_scaled_linear_betas_have_even_roots():
    betas = scaled_linear_betas()
    assert len(betas) == 1000
    assert (betas[0], betas[-1]) == pytest.approx((0.00085, 0.012), rel=1e-14)
    roots = torch.tensor(betas, dtype=torch.float64).sqrt()
    assert torch.allclose(roots.diff(), (roots[-1] - roots[0]) / 999, rtol=1e-10)
    assert scaled_linear_betas(3, 0.01, 0.09) == pytest.approx([0.01, 0.04, 0.09], rel=1e-14)


def test_cosine_betas_are_the_published_table():
    betas = cosine_betas()
    assert len(betas) == 1000

    def signal(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = [min(1 - signal((i + 1) / 1000) / signal(i / 1000), 0.999) for i in range(1000)]
    assert betas == pytest.approx(expected, rel=1e-9)
    assert betas[-1] == 0.999
    until = times(betas)[:-1]
    assert torch.allclose(DiscreteSchedule(betas).alpha(until), OffsetCosine().alpha(until), rtol=1e-11)
    assert cosine_betas(4, beta_max=1.0)[-1] == 1
    assert cosine_betas(4, 0.2, 0.5)[1] == pytest.approx(
        1 - (OffsetCosine(0.2).alpha(0.5) / OffsetCosine(0.2).alpha(0.25)) ** 2
    )


@TABLE
def test_zero_terminal_snr_keeps_the_first_step_and_ends_in_noise(betas):
    if len(betas) == 1:
        return
    rescaled = zero_terminal_snr(betas)
    assert rescaled[0] == betas[0]
    assert rescaled[-1] == 1
    before, after = alphas_bar(betas).sqrt(), alphas_bar(rescaled).sqrt()
    expected = (before - before[-1]) * before[0] / (before[0] - before[-1])
    assert torch.allclose(after, expected, rtol=0, atol=1e-13)
    assert zero_terminal_snr(rescaled) == pytest.approx(rescaled, rel=1e-9)
    assert DiscreteSchedule(rescaled).level(1.0)[:3] == (0.0, 1.0, -math.inf)


def test_two_steps_are_enough_to_end_in_noise():
    assert zero_terminal_snr([0.1, 0.2]) == [0.1, 1.0]


def test_betas_are_kept_as_numbers():
    schedule = DiscreteSchedule(torch.tensor([0.25, 0.5]))
    assert schedule.betas == [0.25, 0.5]
    assert all(type(beta) is float for beta in schedule.betas)


@pytest.mark.parametrize(
    ("betas", "words"),
    [
        ([], "at least one beta"),
        ([0.1, 0.0], "0.0 at place 1 of 2"),
        ([-0.1, 0.2], "-0.1 at place 0 of 2"),
        ([0.1, 1.0, 0.2], "1.0 at place 1 of 3"),
        ([1.0], "1.0 at place 0 of 1"),
        ([0.1, 1.1], "1.1 at place 1 of 2"),
        ([math.nan], "nan at place 0 of 1"),
    ],
)
def test_what_is_no_table_is_refused(betas, words):
    with pytest.raises(ValueError, match=words):
        DiscreteSchedule(betas)


def test_tables_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one beta"):
        linear_betas(0)
    with pytest.raises(ValueError, match="place 0"):
        linear_betas(3, 0.0, 0.1)
    with pytest.raises(ValueError, match="place 2"):
        scaled_linear_betas(3, 0.1, 1.5)
    with pytest.raises(ValueError, match="offset"):
        cosine_betas(3, 0.0)
    with pytest.raises(ValueError, match="at least two"):
        zero_terminal_snr([0.1])
    with pytest.raises(ValueError, match="at place"):
        zero_terminal_snr([0.999] * 1000)
