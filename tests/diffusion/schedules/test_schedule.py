import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.schedules.adapted import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.schedules.discrete import (
    DiscreteSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_snr,
)
from audiodiff.diffusion.schedules.schedule import (
    Cosine,
    LinearBeta,
    OffsetCosine,
    RectifiedFlow,
    Sigmoid,
    SubVP,
    VarianceExploding,
)

PRESERVING = {
    "cosine": Cosine(),
    "offset_cosine": OffsetCosine(),
    "widest_offset": OffsetCosine(1.0),
    "linear_beta": LinearBeta(),
    "constant_beta": LinearBeta(1.0, 1.0),
    "sigmoid": Sigmoid(),
    "steep_sigmoid": Sigmoid(-3.0, 0.5, 0.1),
    "flat_sigmoid": Sigmoid(0.0, 1.0, 500.0),
    "shifted": ShiftedLogSNR(Cosine(), -3.0),
    "preserved_flow": ShiftedLogSNR(RectifiedFlow(), 0.0),
    "ddpm_table": DiscreteSchedule(linear_betas()),
    "cosine_table": DiscreteSchedule(cosine_betas()),
    "table_to_noise": DiscreteSchedule(zero_terminal_snr(scaled_linear_betas())),
}
GENERAL = {
    "sub_vp": SubVP(),
    "variance_exploding": VarianceExploding(),
    "rectified_flow": RectifiedFlow(),
    "scaled": ScaledInput(Cosine(), 0.3),
    "scaled_up": ScaledInput(SubVP(), 3.0),
}
SCHEDULES = PRESERVING | GENERAL
FINITE = {
    name: SCHEDULES[name]
    for name in (
        "linear_beta",
        "constant_beta",
        "ddpm_table",
        "cosine_table",
        "sub_vp",
        "variance_exploding",
        "scaled_up",
    )
}
TO_NOISE = {name: schedule for name, schedule in SCHEDULES.items() if name not in FINITE}
T = torch.linspace(0, 1, 1001, dtype=torch.float64)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def each(schedules):
    return pytest.mark.parametrize("schedule", schedules.values(), ids=schedules)


@each(PRESERVING)
def test_variance_is_preserved(schedule):
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=5e-16)
    assert torch.allclose(schedule.scale(T), torch.ones_like(T), rtol=0, atol=5e-16)


@each(SCHEDULES)
def test_signal_falls_and_noise_rises(schedule):
    assert (schedule.alpha(T).diff() <= 0).all()
    assert (schedule.sigma(T).diff() >= 0).all()
    assert (schedule.log_snr(T).diff() < 0).all()


@each(SCHEDULES)
def test_log_snr_is_the_ratio(schedule):
    inner = T[1:-1]
    ratio = schedule.alpha(inner) / schedule.sigma(inner)
    assert torch.allclose(schedule.log_snr(inner), 2 * torch.log(ratio), rtol=1e-13, atol=1e-13)
    assert torch.equal(schedule.half_log_snr(inner), schedule.log_snr(inner) / 2)
    assert torch.allclose(schedule.scale(inner), schedule.sigma(inner) * (1 + ratio**2).sqrt(), rtol=1e-14)


@each(SCHEDULES)
@given(st.floats(0, 1))
@settings(deadline=None)
def test_log_snr_round_trip(schedule, t):
    back = float(schedule.t_from_log_snr(schedule.log_snr(t)))
    assert back == pytest.approx(t, abs=1e-14)
    if t > 1e-6:
        assert back == pytest.approx(t, rel=1e-11)


@each(SCHEDULES)
def test_data_is_exact(schedule):
    factor = getattr(schedule, "factor", 1.0)
    level = schedule.level(0.0)
    assert (level.alpha, level.sigma, level.log_snr, level.t) == (factor, 0.0, math.inf, 0.0)
    assert schedule.t_max == 1
    assert level.scale == factor
    assert float(schedule.t_from_log_snr(math.inf)) == 0


@each(TO_NOISE)
def test_noise_is_exact(schedule):
    level = schedule.level(1.0)
    assert (level.alpha, level.sigma, level.log_snr, level.t) == (0.0, 1.0, -math.inf, 1.0)
    assert float(schedule.t_from_log_snr(-math.inf)) == 1
    assert float(schedule.t_from_log_snr(schedule.log_snr(1.0))) == 1


@each(FINITE)
def test_levels_beyond_the_last_are_its(schedule):
    last = float(schedule.log_snr(1.0))
    assert math.isfinite(last)
    for log_snr in (last, last - 1e-3, -1e4, -math.inf):
        assert float(schedule.t_from_log_snr(log_snr)) == pytest.approx(1, abs=1e-15)


def test_times_never_leave_the_unit_interval():
    # Among so many, the last digit of some inverses lies above 1.
    for beta_max in range(1, 200):
        schedule = LinearBeta(0.1, beta_max)
        schedule.level(float(schedule.t_from_log_snr(schedule.log_snr(1.0))))


@pytest.mark.parametrize("error", [2.0**-52, -(2.0**-52)])
def test_an_inverse_rounded_beyond_an_end_is_that_end(error):
    class Rounding(Cosine):
        def _t_from_log_snr(self, log_snr):
            return super()._t_from_log_snr(log_snr) + error

    first, last = Rounding().t_from_log_snr(torch.tensor([math.inf, -math.inf], dtype=torch.float64)).tolist()
    assert 0 <= first <= abs(error) and 1 - abs(error) <= last <= 1


@each(SCHEDULES)
def test_any_shape_and_dtype(schedule):
    t = T[1:7].reshape(2, 3)
    functions = (schedule.alpha, schedule.sigma, schedule.log_snr, schedule.half_log_snr, schedule.scale)
    for function in functions:
        expected = torch.tensor([float(function(float(one))) for one in t.flatten()], dtype=torch.float64)
        assert torch.allclose(function(t).flatten(), expected, rtol=1e-14, atol=0)
        assert function(t).shape == function(t.T).T.shape == (2, 3)
        assert torch.equal(function(t.T), function(t).T)
        for dtype in (torch.float32, torch.float16):
            assert function(t.to(dtype)).dtype == dtype
            assert torch.equal(function(t.to(dtype), torch.float64), function(t.to(dtype).double()))
    log_snr = schedule.log_snr(t)
    assert schedule.t_from_log_snr(log_snr).shape == (2, 3)
    assert schedule.t_from_log_snr(log_snr.float()).dtype == torch.float32


@each(SCHEDULES)
def test_levels_are_the_functions(schedule):
    grid = torch.tensor([1.0, 0.4, 0.0], dtype=torch.float64)
    assert [level.t for level in schedule.levels(grid)] == [1.0, 0.4, 0.0]
    for level in schedule.levels(grid):
        assert level == pytest.approx(schedule.level(level.t), rel=1e-14)
        assert level.scale == pytest.approx(float(schedule.scale(level.t)), rel=1e-15)


@each(SCHEDULES)
@pytest.mark.parametrize("t", [-1e-9, 1.0000001, math.nan, math.inf])
def test_times_outside_are_refused(schedule, t):
    for function in (schedule.alpha, schedule.sigma, schedule.log_snr, schedule.half_log_snr, schedule.scale):
        with pytest.raises(ValueError, match="times must lie in"):
            function(torch.tensor([0.5, t], dtype=torch.float64))
    with pytest.raises(ValueError, match="times must lie in"):
        schedule.level(t)


def test_cosine_is_an_even_angle():
    assert torch.allclose(torch.atan2(Cosine().sigma(T), Cosine().alpha(T)), T * math.pi / 2, rtol=1e-14)


@pytest.mark.parametrize("offset", [0.008, 0.1, 1.0])
def test_offset_cosine_is_the_published_function(offset):
    def published(t):
        return math.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2

    schedule = OffsetCosine(offset)
    for t in (0.0, 0.01, 0.3, 0.77, 0.999):
        assert float(schedule.alpha(t)) ** 2 == pytest.approx(published(t) / published(0), abs=1e-14)
        assert float(schedule.sigma(t)) ** 2 == pytest.approx(1 - published(t) / published(0), abs=1e-14)


def test_offset_cosine_keeps_its_digits_near_data():
    # sigma^2 = 2 t w tan(angle(0)) + O(t^2), with w the slope of the angle.
    slope = math.pi / 2 / 1.008
    assert float(OffsetCosine().sigma(1e-12)) ** 2 == pytest.approx(2e-12 * slope * math.tan(0.008 * slope), rel=1e-9)


def test_cosine_is_the_limit_of_offset_cosine():
    assert torch.allclose(OffsetCosine(1e-10).alpha(T), Cosine().alpha(T), rtol=0, atol=1e-9)
    assert torch.allclose(OffsetCosine(1e-10).sigma(T), Cosine().sigma(T), rtol=0, atol=1e-9)


def _integral_of_beta(t):
    return torch.trapezoid(0.1 + torch.linspace(0, t, 100_001, dtype=torch.float64) * 19.9, dx=t / 100_000)


def test_linear_beta_is_the_published_process():
    assert float(LinearBeta().alpha(0.7) ** 2) == pytest.approx(math.exp(-float(_integral_of_beta(0.7))), rel=1e-12)
    assert float(LinearBeta().log_snr(1.0)) == pytest.approx(-10.05, abs=0.01)


def test_sub_vp_is_the_published_process():
    # d variance / dt = -beta variance + g^2, with g^2 = beta (1 - exp(-2 decay)), integrated numerically.
    t = torch.linspace(0, 0.3, 100_001, dtype=torch.float64)
    beta, decay = 0.1 + 19.9 * t, 0.1 * t + 19.9 * t**2 / 2
    grown = torch.trapezoid(torch.exp(decay) * beta * -torch.expm1(-2 * decay), t)
    assert float(SubVP().sigma(0.3)) ** 2 == pytest.approx(float(torch.exp(-decay[-1]) * grown), rel=1e-8)
    assert torch.equal(SubVP().alpha(T), LinearBeta().alpha(T))
    assert torch.allclose(SubVP().sigma(T), LinearBeta().sigma(T) ** 2, rtol=1e-14)
    assert (SubVP().beta_min, SubVP().beta_max) == (0.1, 20.0)


def test_variance_exploding_is_the_published_process():
    # d sigma^2 / dt = g^2, integrated numerically.
    t = torch.linspace(0, 0.6, 100_001, dtype=torch.float64)
    rate = (0.01 * 5000**t) ** 2 * 2 * math.log(5000)
    schedule = VarianceExploding()
    assert float(schedule.sigma(0.6)) ** 2 == pytest.approx(float(torch.trapezoid(rate, t)), rel=1e-8)
    assert float(schedule.sigma(1.0)) ** 2 == pytest.approx(50**2 - 0.01**2, rel=1e-13)
    assert schedule.alpha(T).unique().tolist() == [1.0]
    level = VarianceExploding(0.002, 80.0).level(0.5)
    assert level.sigma**2 + 0.002**2 == pytest.approx(0.002 * 80.0, rel=1e-13)


def test_rectified_flow_is_a_straight_line():
    assert torch.equal(RectifiedFlow().alpha(T), 1 - T)
    assert torch.equal(RectifiedFlow().sigma(T), T)
    t = T.clone()
    RectifiedFlow().sigma(t).zero_()
    assert torch.equal(t, T)


@pytest.mark.parametrize("arguments", [(), (0.0, 3.0, 0.3), (-3.0, 3.0, 1.1), (-2.0, -1.0, 4.0), (-3.0, 1.0, 0.1)])
def test_sigmoid_is_the_published_function(arguments):
    start, end, tau = arguments or (-3.0, 3.0, 1.0)

    def rise(u):
        return 1 / (1 + math.exp(-u / tau))

    schedule = Sigmoid(*arguments)
    for t in (0.0, 0.01, 0.4, 0.9, 1.0):
        published = (rise(end) - rise(start + t * (end - start))) / (rise(end) - rise(start))
        assert float(schedule.alpha(t)) ** 2 == pytest.approx(published, abs=1e-14)


def test_the_steepest_sigmoid_is_finite():
    steepest = Sigmoid(0.0, 700.0, 1.0)
    assert torch.isfinite(steepest.log_snr(T[1:-1])).all()
    assert float(steepest.t_from_log_snr(steepest.log_snr(0.5))) == pytest.approx(0.5, abs=1e-12)
    # So far out a sigmoid is an exponential: alpha^2 / sigma^2 = (e^-0.5 - e^-1) / (1 - e^-0.5) = e^-0.5.
    assert float(Sigmoid(5000.0, 5001.0, 1.0).log_snr(0.5)) == pytest.approx(-0.5, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (LinearBeta, (0.0, 1.0), "beta_min"),
        (LinearBeta, (2.0, 1.0), "beta_min"),
        (LinearBeta, (math.nan, 1.0), "beta_min"),
        (LinearBeta, (1.0, math.inf), "beta_min"),
        (SubVP, (2.0, 1.0), "beta_min"),
        (OffsetCosine, (0.0,), "offset"),
        (OffsetCosine, (-0.1,), "offset"),
        (OffsetCosine, (1.001,), "offset"),
        (OffsetCosine, (math.nan,), "offset"),
        (VarianceExploding, (0.0, 1.0), "sigma_min"),
        (VarianceExploding, (1.0, 1.0), "sigma_min"),
        (VarianceExploding, (1.0, math.inf), "sigma_min"),
        (VarianceExploding, (math.nan, 1.0), "sigma_min"),
        (Sigmoid, (1.0, 1.0), "start < end"),
        (Sigmoid, (1.0, math.nan), "start < end"),
        (Sigmoid, (-math.inf, 1.0), "start < end"),
        (Sigmoid, (-3.0, 3.0, 0.0), "tau > 0"),
        (Sigmoid, (-3.0, 3.0, -1.0), "tau > 0"),
        (Sigmoid, (-3.0, 3.0, math.inf), "tau > 0"),
        (Sigmoid, (0.0, 700.5), "raise tau"),
    ],
)
def test_arguments_out_of_range_are_refused(kind, arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        kind(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("schedule", "arguments"),
    [
        (LinearBeta(0.2, 3.0), {"beta_min": 0.2, "beta_max": 3.0}),
        (SubVP(0.2, 3.0), {"beta_min": 0.2, "beta_max": 3.0}),
        (OffsetCosine(), {"offset": 0.008}),
        (VarianceExploding(0.1, 2.0), {"sigma_min": 0.1, "sigma_max": 2.0}),
        (Sigmoid(-1.0, 2.0, 0.5), {"start": -1.0, "end": 2.0, "tau": 0.5}),
    ],
)
def test_arguments_are_kept(schedule, arguments):
    assert {name: getattr(schedule, name) for name in arguments} == arguments


def test_numbers_at_one_time_are_constants_of_a_compiled_function():
    schedule = LinearBeta()
    compiled = torch.compile(lambda x: x * schedule.level(0.5).alpha, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.ones(3)), torch.ones(3) * schedule.level(0.5).alpha)
