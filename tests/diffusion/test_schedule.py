import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.diffusion.schedule import Cosine, LinearBeta

T = torch.linspace(0, 1, 1001, dtype=torch.float64)


def test_variance_is_preserved(schedule):
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=4e-16)


def test_signal_falls_and_noise_rises(schedule):
    assert (schedule.alpha(T).diff() < 0).all()
    assert (schedule.sigma(T).diff() > 0).all()
    assert (schedule.log_snr(T).diff() < 0).all()


def test_log_snr_is_the_ratio(schedule):
    inner = T[1:-1]
    expected = 2 * torch.log(schedule.alpha(inner) / schedule.sigma(inner))
    assert torch.allclose(schedule.log_snr(inner), expected, rtol=1e-13, atol=1e-13)
    assert torch.equal(schedule.half_log_snr(inner), schedule.log_snr(inner) / 2)


@pytest.mark.parametrize("schedule_", [Cosine(), LinearBeta(), LinearBeta(1.0, 1.0)])
@given(st.floats(min_value=1e-6, max_value=0.999))
def test_log_snr_round_trip(schedule_, t):
    assert float(schedule_.t_from_log_snr(schedule_.log_snr(t))) == pytest.approx(t, rel=1e-11)


def test_cosine_is_exact_at_both_ends():
    ends = torch.tensor([0.0, 1.0])
    assert Cosine().alpha(ends).tolist() == [1.0, 0.0]
    assert Cosine().sigma(ends).tolist() == [0.0, 1.0]
    assert Cosine().log_snr(ends).tolist() == [math.inf, -math.inf]
    assert Cosine().t_from_log_snr(torch.tensor([math.inf, -math.inf])).tolist() == [0.0, 1.0]


def test_linear_beta_is_the_published_process():
    # alpha^2 = exp(-integral of beta), the integral taken numerically.
    t = torch.linspace(0, 0.7, 100001, dtype=torch.float64)
    integral = torch.trapezoid(0.1 + t * 19.9, t)
    assert float(LinearBeta().alpha(0.7) ** 2) == pytest.approx(math.exp(-float(integral)), rel=1e-12)
    assert float(LinearBeta().sigma(0.0)) == 0
    assert float(LinearBeta().log_snr(1.0)) == pytest.approx(-10.05, abs=0.01)


def test_float32_times_lose_no_digits_of_log_snr(schedule):
    t = torch.tensor([1e-5, 0.999], dtype=torch.float32)
    assert schedule.log_snr(t).dtype == torch.float32
    assert torch.equal(schedule.log_snr(t, torch.float64), schedule.log_snr(t.double()))


@pytest.mark.parametrize("arguments", [(0.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_linear_beta_refuses(arguments):
    with pytest.raises(ValueError, match="beta_min"):
        LinearBeta(*arguments)
