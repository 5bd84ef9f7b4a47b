import math

import pytest
import torch

from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.weighting import LOG_SNR_MAX, P2, SNR, MinSNR, SigmoidWeighting, VariationalBound

LOG_SNR = torch.tensor([-20.0, -3.0, 0.0, 1.0, 20.0], dtype=torch.float64)
SLOPE = torch.tensor([-7.0, -3.0, -1.0, -0.5, 0.0], dtype=torch.float64)


def slope():
    return SLOPE


def unasked():
    raise AssertionError("this weighting does not depend on the schedule")


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        (SNR(), lambda snr: snr),
        (MinSNR(), lambda snr: min(snr, 5.0)),
        (MinSNR(0.3), lambda snr: min(snr, 0.3)),
        (P2(), lambda snr: snr / (1 + snr)),
        (P2(2.0, 0.5), lambda snr: snr / math.sqrt(2 + snr)),
        (P2(0.0, 1.0), lambda snr: 1.0),
        (P2(3.0, 0.0), lambda snr: snr),
    ],
)
def test_weights_of_the_x0_error(weighting, expected):
    assert weighting(LOG_SNR, unasked).tolist() == pytest.approx(
        [expected(math.exp(log)) for log in LOG_SNR], rel=1e-14
    )


def test_weights_that_follow_the_schedule():
    bound = -0.5 * SLOPE * LOG_SNR.exp()
    assert torch.allclose(VariationalBound()(LOG_SNR, slope), bound, rtol=1e-15)
    for bias in (2.0, -1.0, 0.0):
        weight = SigmoidWeighting(bias)(LOG_SNR, slope)
        assert torch.allclose(weight, bound / (1 + (LOG_SNR - bias).exp()), rtol=1e-13)
    assert torch.equal(SigmoidWeighting()(LOG_SNR, slope), SigmoidWeighting(2.0)(LOG_SNR, slope))
    assert torch.allclose(SigmoidWeighting(80.0)(LOG_SNR, slope), bound, rtol=1e-14)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        (VariationalBound(), (math.log1p(math.exp(20)) - math.log1p(math.exp(-20))) / 2),
        (SigmoidWeighting(), 1 / (1 - math.exp(-2))),
        (SigmoidWeighting(-1.0), -0.5 / (1 - math.exp(1))),
    ],
)
def test_mean_loss_on_a_standard_normal(weighting, expected):
    """The x0-error is then 1 / (1 + SNR), the bound's mean what x_t learns of x0 between both ends, log(1 + SNR) / 2,
    and the sigmoid's bias / (1 - exp(-bias)) / 2.
    """
    log_snr = torch.linspace(-LOG_SNR_MAX, LOG_SNR_MAX, 20001, dtype=torch.float64)
    t = Cosine().t_from_log_snr(log_snr)
    weight = weighting(log_snr, lambda: -2 * math.pi / torch.sin(math.pi * t))
    mean = -torch.trapezoid(weight * torch.sigmoid(-log_snr), t)
    assert float(mean) == pytest.approx(expected, rel=1e-6)


def test_the_bound_beyond_which_levels_are_one():
    assert LOG_SNR_MAX == 20.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinSNR(0.0), "gamma"),
        (lambda: MinSNR(math.nan), "gamma"),
        (lambda: P2(-1e-9), "k and gamma"),
        (lambda: P2(1.0, -1e-9), "k and gamma"),
        (lambda: P2(math.nan), "k and gamma"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_least_arguments_are_taken():
    assert MinSNR(1e-9).gamma == 1e-9
    assert (P2(0.0, 0.0).k, P2(0.0, 0.0).gamma) == (0.0, 0.0)


def test_arguments_are_kept():
    assert (MinSNR().gamma, P2().k, P2().gamma, SigmoidWeighting().bias) == (5.0, 1.0, 1.0, 2.0)
    assert (P2(3.0, 0.5).k, P2(3.0, 0.5).gamma, SigmoidWeighting(-2.0).bias) == (3.0, 0.5, -2.0)
