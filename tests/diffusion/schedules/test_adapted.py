import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.diffusion.schedules.adapted import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, VarianceExploding

T = torch.linspace(0, 1, 101, dtype=torch.float64)
INNER = T[1:-1]
BASES = pytest.mark.parametrize("base", [Cosine(), LinearBeta(), VarianceExploding(), RectifiedFlow()])


@BASES
@given(factor=st.floats(1e-3, 1e3))
def test_scaling_shifts_log_snr_by_twice_the_logarithm(base, factor):
    scaled = ScaledInput(base, factor)
    assert torch.allclose(scaled.log_snr(INNER), base.log_snr(INNER) + 2 * math.log(factor), rtol=1e-13, atol=1e-13)
    assert torch.equal(scaled.alpha(T), base.alpha(T) * factor)
    assert torch.equal(scaled.sigma(T), base.sigma(T))


@BASES
@given(factor=st.floats(1e-3, 1e3))
def test_a_scaled_input_at_unit_variance_is_the_shifted_schedule(base, factor):
    scaled, shifted = ScaledInput(base, factor), ShiftedLogSNR(base, 2 * math.log(factor))
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, len(T), generator=generator, dtype=torch.float64)
    x_t = scaled.alpha(T) * x0 + scaled.sigma(T) * noise
    assert torch.allclose(x_t / scaled.scale(T), shifted.alpha(T) * x0 + shifted.sigma(T) * noise, rtol=0, atol=2e-14)


@BASES
def test_a_shift_adds_to_log_snr_at_every_time(base):
    shifted = ShiftedLogSNR(base, -2.5)
    assert torch.equal(shifted.log_snr(INNER), base.log_snr(INNER) - 2.5)
    ratio = base.alpha(INNER) / base.sigma(INNER) * math.exp(-1.25)
    assert torch.allclose(shifted.alpha(INNER) / shifted.sigma(INNER), ratio, rtol=1e-13)
    assert torch.allclose(ShiftedLogSNR(shifted, 2.5).log_snr(INNER), base.log_snr(INNER), rtol=1e-13, atol=1e-13)


@BASES
@pytest.mark.parametrize("kind", [ShiftedLogSNR, ScaledInput])
def test_times_are_found_again(base, kind):
    adapted = kind(base, 0.2)
    assert torch.allclose(adapted.t_from_log_snr(adapted.log_snr(T)), T, rtol=0, atol=1e-14)


def test_averages_over_a_longer_signal_are_as_noisy_as_the_shorter_signal():
    # The mean of 4 samples carries a quarter of the noise's variance: the shift for length ratio 4 makes it whole.
    base = Cosine()
    long = ShiftedLogSNR(base, math.log(1 / 4))
    signal_to_noise = long.alpha(INNER) ** 2 / (long.sigma(INNER) ** 2 / 4)
    assert torch.allclose(torch.log(signal_to_noise), base.log_snr(INNER), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [ShiftedLogSNR, ScaledInput])
def test_the_usable_range_is_that_of_the_schedule_within(kind):
    base = Cosine()
    base.t_max = 0.9
    assert kind(base, 2.0).t_max == 0.9
    assert kind(base, 2.0).schedule is base
    assert [getattr(kind(base, 2.0), name, None) for name in ("shift", "factor")].count(2.0) == 1


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (ShiftedLogSNR, math.inf, "shift"),
        (ShiftedLogSNR, math.nan, "shift"),
        (ScaledInput, 0.0, "factor"),
        (ScaledInput, -1.0, "factor"),
        (ScaledInput, math.inf, "factor"),
        (ScaledInput, math.nan, "factor"),
    ],
)
def test_arguments_out_of_range_are_refused(kind, value, words):
    with pytest.raises(ValueError, match=words):
        kind(Cosine(), value)
