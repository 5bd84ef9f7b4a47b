"""The weights of a step against integrals in extended precision."""

import math

import mpmath
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.samplers.integral import (
    COORDINATES,
    NATURAL,
    PREDICTIONS,
    Integral,
    check,
    exponential_moments,
    interpolation_weights,
)
from audiodiff.diffusion.schedules.schedule import Cosine, Level, LinearBeta, Schedule

MEMBERS = [(predict, coordinate) for predict in PREDICTIONS for coordinate in COORDINATES]
EXACT = [("x0", "half_log_snr"), ("epsilon", "half_log_snr"), ("epsilon", "ratio"), ("v", "angle")]


class _Doubled(Cosine):
    """Twice everything: not variance preserving, the same log_snr."""

    def _alpha(self, t):
        return 2 * super()._alpha(t)

    def _sigma(self, t):
        return 2 * super()._sigma(t)


def _ratio(level: Level) -> float:
    return level.sigma / level.alpha


def _measure(predict, ratio):
    return {"x0": lambda: 1 / ratio, "epsilon": lambda: ratio, "v": lambda: mpmath.atan(ratio)}[predict]()


def _ratio_of(predict, measure):
    return {"x0": lambda: 1 / measure, "epsilon": lambda: measure, "v": lambda: mpmath.tan(measure)}[predict]()


def _coordinate(coordinate, ratio, schedule):
    if coordinate == "t":  # of the cosine schedule and its double
        return 2 / mpmath.pi * mpmath.atan(ratio)
    return {"half_log_snr": lambda: -mpmath.log(ratio), "angle": lambda: mpmath.atan(ratio), "ratio": lambda: ratio}[
        coordinate
    ]()


def _moment(predict, coordinate, start, stop, schedule, function):
    """front int function(c) dm over the step, by quadrature in extended precision, in exact arithmetic on the ends."""
    with mpmath.workdps(30):
        first, last = (_measure(predict, mpmath.mpf(_ratio(level))) for level in (start, stop))
        front = {"x0": stop.sigma, "epsilon": stop.alpha, "v": stop.scale}[predict]
        return float(
            front
            * mpmath.quad(lambda m: function(_coordinate(coordinate, _ratio_of(predict, m), schedule)), [first, last])
        )


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 30))
def test_moments_are_the_integrals(decay):
    for j, moment in enumerate(exponential_moments(decay, 5)):
        with mpmath.workdps(30):
            expected = float(mpmath.quad(lambda u, j=j: mpmath.exp(-decay * (1 - u)) * u**j, [0, 1]))
        assert moment == pytest.approx(expected, rel=2e-14)


def test_interpolation_is_exact_for_as_many_powers_as_nodes():
    weights = interpolation_weights([0.0, -0.5, 2.0], [1.0, 0.5, 0.25])
    for power, moment in enumerate([1.0, 0.5, 0.25]):
        assert sum(w * u**power for w, u in zip(weights, [0.0, -0.5, 2.0], strict=True)) == pytest.approx(
            moment, abs=1e-15
        )


@pytest.mark.parametrize("predict, coordinate", MEMBERS)
@pytest.mark.parametrize("schedule", [Cosine(), _Doubled()], ids=["cosine", "doubled"])
@settings(max_examples=6, deadline=None)
@given(
    start=st.floats(0.05, 0.95),
    gaps=st.lists(st.floats(0.01, 0.12), min_size=4, max_size=4),
    backwards=st.booleans(),
    order=st.integers(1, 4),
)
def test_a_polynomial_through_the_nodes_is_integrated_exactly(
    predict, coordinate, schedule, start, gaps, backwards, order
):
    """Degree order - 1 on uneven nodes, to rounding, for every guise, coordinate and direction."""
    sign = -1 if backwards else 1
    times = [start + sign * sum(gaps[1 : i + 1]) for i in range(4)][:order]
    stop = start - sign * gaps[0]
    assume(all(0.02 <= t <= 0.98 for t in [*times, stop]))
    nodes, end = [schedule.level(t) for t in times], schedule.level(stop)
    integral = Integral(schedule, predict, coordinate)
    weights = integral.weights(nodes, nodes[0], end)
    places = [float(_coordinate(coordinate, mpmath.mpf(_ratio(node)), schedule)) for node in nodes]
    origin = places[0]
    for degree in range(order):
        total = sum(w * (place - origin) ** degree for w, place in zip(weights, places, strict=True))
        expected = _moment(predict, coordinate, nodes[0], end, schedule, lambda c, d=degree: (c - origin) ** d)
        size = sum(abs(w) * abs(p - origin) ** degree for w, p in zip(weights, places, strict=True)) + abs(expected)
        bound = 3e-14 if (predict, coordinate) in EXACT else 1e-12
        # Close nodes leave few digits to their differences: that is the polynomial's condition, not the method's.
        assert abs(total - expected) <= bound * max(size, sum(map(abs, weights)) * 0.01)


@pytest.mark.parametrize("predict", ["x0", "epsilon"])
@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_the_reverse_sde_has_its_own_kernel(predict, eta, degree):
    schedule = Cosine()
    nodes, stop = [schedule.level(t) for t in (0.6, 0.7, 0.85)], schedule.level(0.35)
    start = nodes[0]
    integral = Integral(schedule, predict, eta=eta)
    weights = integral.weights(nodes, start, stop)
    lam = [node.log_snr / 2 for node in nodes]
    begin, end = start.log_snr / 2, stop.log_snr / 2
    kernel = {
        "x0": lambda c: (1 + eta) * stop.alpha * mpmath.exp(-(1 + eta) * (end - c)),
        "epsilon": lambda c: -(1 + eta) * stop.alpha * mpmath.exp(-c),
    }[predict]
    expected = float(mpmath.quad(lambda c: kernel(c) * c**degree, [begin, end]))
    assert sum(w * c**degree for w, c in zip(weights, lam, strict=True)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("predict", ["x0", "epsilon"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0, 2.0])
def test_the_marginal_is_kept_for_any_noise(predict, eta):
    """With the true x0 and noise for feature, mean and variance of x_s are those of q(x_s | x0)."""
    schedule = Cosine()
    start, stop = schedule.level(0.7), schedule.level(0.4)
    integral = Integral(schedule, predict, eta=eta)
    carry, (weight,), noise = (
        integral.carry(start, stop),
        integral.weights([start], start, stop),
        integral.noise(start, stop),
    )
    on_x, on_x0 = integral.feature(start)
    through = carry + weight * on_x
    assert through * start.alpha + weight * on_x0 == pytest.approx(stop.alpha, rel=1e-14)
    if predict == "x0" or eta in (0.0,):
        assert (through * start.sigma) ** 2 + noise**2 == pytest.approx(stop.sigma**2, rel=1e-14)


def test_noise_of_the_reverse_sde():
    """Ancestral sampling's own at eta = 1 for x0; Brownian motion in sigma / alpha for epsilon; none at t = 0."""
    schedule = Cosine()
    start, stop, data = schedule.level(0.7), schedule.level(0.4), schedule.level(0.0)
    x0, epsilon = (Integral(schedule, predict, eta=0.5) for predict in ("x0", "epsilon"))
    drop = math.log(_ratio(start) / _ratio(stop))
    assert x0.noise(start, stop) == pytest.approx(stop.sigma * math.sqrt(1 - math.exp(-2 * 0.5 * drop)), rel=1e-14)
    spread = 0.5 * (_ratio(start) ** 2 - _ratio(stop) ** 2)
    assert epsilon.noise(start, stop) == pytest.approx(stop.alpha * math.sqrt(spread), rel=1e-14)
    assert epsilon.marginal_noise(start, stop) == x0.marginal_noise(start, stop) == x0.noise(start, stop)
    assert x0.noise(start, data) == 0 and x0.marginal_noise(schedule.level(1.0), stop) == stop.sigma
    assert Integral(schedule, "v").noise(start, stop) == Integral(schedule, "epsilon").noise(start, stop) == 0


@pytest.mark.parametrize("predict", PREDICTIONS)
@pytest.mark.parametrize("schedule", [Cosine(), LinearBeta(), _Doubled()], ids=["cosine", "linear_beta", "doubled"])
def test_a_constant_feature_is_carried_exactly(predict, schedule):
    """x0, noise and v of a straight path: with x0 and noise fixed the step lands on alpha x0 + sigma noise (not v)."""
    start, stop = schedule.level(0.8), schedule.level(0.3)
    integral = Integral(schedule, predict)
    on_x, on_x0 = integral.feature(start)
    x0, noise = 0.7, -1.3
    x = start.alpha * x0 + start.sigma * noise
    feature = on_x * x + on_x0 * x0
    expected = {"x0": x0, "epsilon": noise, "v": (start.alpha * noise - start.sigma * x0) / start.scale}[predict]
    assert feature == pytest.approx(expected, rel=1e-13)
    (weight,) = integral.weights([start], start, stop)
    landed = integral.carry(start, stop) * x + weight * feature
    if predict == "v":  # Euler in the angle
        angle = math.atan(_ratio(stop)) - math.atan(_ratio(start))
        assert landed == pytest.approx(stop.scale * (x / start.scale + angle * feature), rel=1e-14)
    else:
        assert landed == pytest.approx(stop.alpha * x0 + stop.sigma * noise, rel=1e-13)


def test_pseudo_averages_the_polynomial():
    """PLMS on even times has the coefficients of Adams and Bashforth, whatever the kernel."""
    schedule = Cosine()
    nodes = [schedule.level(t) for t in (0.5, 0.6, 0.7, 0.8)]
    stop = schedule.level(0.4)
    weights = Integral(schedule, "epsilon", "t", pseudo=True).weights(nodes, nodes[0], stop)
    whole = stop.alpha * (_ratio(stop) - _ratio(nodes[0]))
    assert [w / whole for w in weights] == pytest.approx([55 / 24, -59 / 24, 37 / 24, -9 / 24], rel=1e-12)


def test_which_levels_are_nodes_and_which_steps_are_finite():
    schedule = Cosine()
    noise, middle, data = schedule.level(1.0), schedule.level(0.5), schedule.level(0.0)
    table = {
        ("x0", "half_log_snr"): ((False, True, False), False, False),
        ("epsilon", "half_log_snr"): ((False, True, False), False, False),
        ("epsilon", "ratio"): ((False, True, False), False, True),
        ("epsilon", "t"): ((False, True, False), False, True),
        ("x0", "t"): ((True, True, True), True, False),
        ("x0", "angle"): ((True, True, True), True, False),
        ("v", "angle"): ((True, True, False), True, True),
        ("v", "ratio"): ((False, True, False), False, True),
    }
    for (predict, coordinate), (usable, from_noise, to_data) in table.items():
        integral = Integral(schedule, predict, coordinate)
        assert tuple(integral.usable(level) for level in (noise, middle, data)) == usable
        assert integral.solvable(noise, middle) is from_noise
        assert integral.solvable(middle, data) is to_data


def test_natural_coordinates():
    for predict, coordinate in NATURAL.items():
        assert Integral(Cosine(), predict).coordinate == coordinate


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("score", None, 0.0), "x0, epsilon, v"),
        (("x0", "time", 0.0), "half_log_snr, angle, ratio, t"),
        (("x0", None, -0.1), "eta"),
        (("x0", None, math.inf), "eta"),
        (("x0", None, math.nan), "eta"),
        (("v", None, 1.0), "eta > 0"),
        (("x0", "angle", 1.0), "eta > 0"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        check(*arguments)
    with pytest.raises(ValueError, match=message):
        Integral(Cosine(), *arguments)


def test_schedules_are_any():
    assert issubclass(_Doubled, Schedule)
