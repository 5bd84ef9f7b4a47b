"""Adaptive steps: errors that follow the tolerance, clip by clip."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.adaptive import Adaptive
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, SubVP, VarianceExploding

MEMBERS = [(order, predict) for order in (2, 3) for predict in ("x0", "epsilon")]
WIDE = {"log_snr_min": -22.0, "log_snr_max": 22.0, "max_nfe": 10**5}


class Spy:
    """A denoiser that records its times."""

    def __init__(self, denoiser):
        self.denoiser, self.schedule, self.t_max, self.evaluated = denoiser, denoiser.schedule, denoiser.t_max, []

    def __call__(self, x_t, t, cond=None):
        self.evaluated.append((t, cond))
        return self.denoiser(x_t, t)


def _rms(difference):
    return float(difference.square().mean().sqrt())


@pytest.mark.parametrize("order, predict", MEMBERS)
def test_error_follows_the_tolerance(order, predict, gaussian, x1):
    x1 = x1[:2]
    errors, calls = [], []
    tolerances = (1e-2, 2e-3, 4e-4) if order == 2 else (1e-2, 5e-4, 2.5e-5)
    for tolerance in tolerances:
        output, count = Adaptive(order, predict, tolerance, tolerance, **WIDE).integrate(gaussian, x1)
        errors.append(_rms(output - gaussian.flow(x1, 1.0, 0.0)))
        calls.append(float(count.double().mean()))
        assert errors[-1] < 5 * tolerance
    factor = tolerances[0] / tolerances[1]
    assert errors[2] < errors[0] / factor
    # A step's error is h^k, and kept at the tolerance: calls go as its k-th root.
    for few, many in pairwise(calls):
        assert few < many < 1.3 * few * factor ** (1 / order)


def _published(denoiser, x, predict, order, atol, rtol, h=0.05, safety=0.9, lam_end=5.0, lam_start=-5.0):
    """DPM-Solver-12 and -23 (arXiv 2206.00927, appendix C) on one clip, with exact weights of the
    differences and steps that grow by a factor of 5 at most."""
    schedule = denoiser.schedule
    sign = 1 if predict == "x0" else -1

    def amplitudes(lam):
        t = schedule.t_from_log_snr(2 * lam)
        return float(t), float(schedule.alpha(t)), float(schedule.sigma(t))

    def feature(x, lam):
        t, alpha, sigma = amplitudes(lam)
        x0 = denoiser(x, t)
        return x0 if predict == "x0" else (x - alpha * x0) / sigma

    def reach(x, lam, width, value, slope=0.0):
        """The exact solution for value + slope (lambda - lam)."""
        (_, a, s), (_, a2, s2) = amplitudes(lam), amplitudes(lam + width)
        carry, front = (s2 / s, a2) if predict == "x0" else (a2 / a, -s2)
        z = sign * width
        first = -math.expm1(-z) * sign
        second = (z + math.expm1(-z)) if predict == "x0" else (math.expm1(-z) + z)
        return carry * x + front * (first * value + second * slope)

    lam, calls, trials = lam_start, 0, []
    while lam < lam_end:
        h = min(h, lam_end - lam)
        f = feature(x, lam)
        if order == 2:
            low = reach(x, lam, h, f)
            high = reach(x, lam, h, feature(reach(x, lam, h / 2, f), lam + h / 2))
        else:
            slope = (feature(reach(x, lam, h / 3, f), lam + h / 3) - f) / (h / 3)
            low = reach(x, lam, h, f, slope)
            two = feature(reach(x, lam, 2 * h / 3, f, slope), lam + 2 * h / 3)
            high = reach(x, lam, h, f, (two - f) / (2 * h / 3))
        delta = torch.clamp(rtol * torch.maximum(x.abs(), low.abs()), min=atol)
        error = float(((high - low) / delta).square().mean().sqrt())
        calls, taken = calls + order, error <= 1
        trials.append((lam, h, taken))
        if taken:
            x, lam = high, (lam_end if h == lam_end - lam else lam + h)
        h = h * min(safety * error ** (-1 / order), 5)
    return x, calls, trials


@pytest.mark.parametrize("order, predict", MEMBERS)
def test_equals_the_published_algorithm(order, predict, mixture, x1):
    atol, rtol = 0.0078, 0.05
    x, start = x1[:1], Cosine().level(float(Cosine().t_from_log_snr(-10.0)))
    x0 = mixture(x, 1.0)
    x = start.alpha * x0 + start.sigma * x
    x, calls, trials = _published(mixture, x, predict, order, atol, rtol)
    expected = mixture(x, float(Cosine().t_from_log_snr(10.0)))
    output, count = Adaptive(order, predict).integrate(mixture, x1[:1])
    assert count.tolist() == [calls + 2]
    assert not all(taken for *_, taken in trials), "the test is to see a step refused"
    assert torch.allclose(output, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("order, predict", MEMBERS)
def test_batch_is_singles(order, predict, mixture, x1):
    solver = Adaptive(order, predict)
    batch, calls = solver.integrate(mixture, x1[:6])
    assert len(set(calls.tolist())) > 1
    for i in range(6):
        single, count = solver.integrate(mixture, x1[i : i + 1])
        assert torch.allclose(single, batch[i : i + 1], rtol=0, atol=1e-12)
        assert count.tolist() == calls[i : i + 1].tolist()


@pytest.mark.parametrize("order, predict", MEMBERS)
def test_calls_are_counted_and_times_are_each_clips_own(order, predict, mixture, x1):
    spy = Spy(mixture)
    _, calls = Adaptive(order, predict).integrate(spy, x1[:5], "mel")
    assert calls.dtype == torch.int64
    assert len(spy.evaluated) == int(calls.max()) and {cond for _, cond in spy.evaluated} == {"mel"}
    assert spy.evaluated[0][0] == 1.0 and spy.evaluated[-1][0] == pytest.approx(float(Cosine().t_from_log_snr(10.0)))
    inner = torch.stack([t for t, _ in spy.evaluated[1:-1]])
    assert inner.shape[1] == 5 and inner.dtype == torch.float64
    assert float(inner[0].min()) == float(inner[0].max()) == pytest.approx(float(Cosine().t_from_log_snr(-10.0)))
    assert float((inner[-1] - inner[-1, 0]).abs().max()) > 0
    own = [torch.unique(inner[:, i]).numel() for i in range(5)]
    assert len(set(own)) > 1


@pytest.mark.parametrize("order, predict", MEMBERS)
def test_the_schedule_does_not_matter(order, predict, mixture, x1):
    """Between the same log_snr every schedule takes the same steps to the same result."""
    found = []
    for schedule in (Cosine(), VarianceExploding(0.001, 200.0), SubVP(), RectifiedFlow(), LinearBeta()):
        mixture.schedule = schedule
        spy = Spy(mixture)
        spy.t_max = float(schedule.t_from_log_snr(-9.0))
        x = x1[:4] * float(schedule.scale(spy.t_max))
        found.append(Adaptive(order, predict).integrate(spy, x))
        assert len(spy.evaluated) == int(found[-1][1].max())
    for output, calls in found[1:]:
        assert torch.allclose(output, found[0][0], rtol=0, atol=1e-6) and torch.equal(calls, found[0][1])


@pytest.mark.parametrize("objective", [Epsilon, X0, V])
def test_every_objective_samples_from_its_own_start(objective, mixture, x1):
    denoiser = Denoiser(mixture.as_network(objective()), mixture.schedule, objective())
    output = Adaptive()(denoiser, x1[:4])
    exact = Adaptive(3, "x0", 1e-5, 1e-5)(mixture, x1[:4])
    assert _rms(output - exact) < 0.05
    single = Adaptive()(denoiser, x1[:4].float())
    assert single.dtype == torch.float32 and _rms(single - output) < 1e-4


def test_a_handful_of_calls_is_enough(mixture, x1):
    """As many as published, for the error that is published: 84 calls for 2e-4 on a mixture of 16 dimensions."""
    exact = Adaptive(3, "x0", 1e-5, 1e-5, **WIDE)(mixture, x1[:4])
    output, calls = Adaptive(3, "x0", 1e-3, 1e-3).integrate(mixture, x1[:4])
    assert float(calls.double().mean()) < 90
    assert float((output - exact).flatten(1).square().mean(1).sqrt().median()) < 2e-4


def test_defaults_are_the_published_ones():
    solver = Adaptive()
    assert (solver.order, solver.predict, solver.atol, solver.rtol) == (3, "x0", 0.0078, 0.05)
    assert (solver.log_snr_min, solver.log_snr_max, solver.first_step) == (-10, 10, 0.05)
    assert (solver.safety, solver.max_nfe, solver.stochastic) == (0.9, 1000, False)


def test_the_first_step_and_its_growth(gaussian, x1):
    """The first step is `first_step` long; an error of 0 (a point) makes the next step five times as long."""

    class Point:
        schedule, t_max = Cosine(), 1.0

        def __call__(self, x_t, t, cond=None):
            return torch.full_like(x_t, 2.5)

    spy = Spy(Point())
    output, calls = Adaptive(2, first_step=0.3).integrate(spy, x1[:2])
    assert torch.allclose(output, torch.full_like(output, 2.5), rtol=0, atol=1e-12)
    assert calls.tolist() == [10, 10]
    places = [float(Cosine().half_log_snr(t[0])) for t, _ in spy.evaluated[1:-1]]
    assert places == pytest.approx([-5, -4.85, -4.7, -3.95, -3.2, 0.55, 4.3, 4.65], abs=1e-9)


def test_a_start_behind_the_end_is_the_end(gaussian, x1):
    spy = Spy(gaussian)
    spy.t_max = float(Cosine().t_from_log_snr(11.0))
    output, calls = Adaptive().integrate(spy, x1[:2])
    assert calls.tolist() == [1, 1] and torch.equal(output, gaussian(x1[:2], spy.t_max))


def test_padding_does_not_count(mixture, x1):
    class Padded:
        schedule, t_max = mixture.schedule, 1.0

        def __call__(self, x_t, t, cond=None):
            return torch.cat([mixture(x_t[..., :6], t), 0 * x_t[..., 6:]], -1)

    alone, calls = Adaptive().integrate(mixture, x1[:3])
    padded = torch.cat([x1[:3], torch.randn(3, 1, 4, dtype=torch.float64)], -1)
    output, counted = Adaptive().integrate(Padded(), padded, SimpleNamespace(samples=torch.full((3,), 6)))
    assert torch.allclose(output[..., :6], alone, rtol=0, atol=1e-9) and torch.equal(counted, calls)
    assert not torch.allclose(Adaptive()(Padded(), padded)[..., :6], alone, rtol=0, atol=1e-9)


def test_callback_is_called_for_every_trial(gaussian, x1):
    given = []
    solver = Adaptive(3)
    _, calls = solver.integrate(gaussian, x1[:2], callback=lambda *news: given.append(news))
    assert [news[0] for news in given] == list(range(3, int(calls.max()) - 1, 3)) and given[0][1] == 1000
    assert given[-1][2].shape == given[-1][3].shape == (2, 1, 6)
    via_call = []
    solver(gaussian, x1[:2], callback=lambda *news: via_call.append(news[0]))
    assert via_call == [news[0] for news in given]


def test_no_state_is_left_between_calls(gaussian, mixture, x1):
    solver = Adaptive()
    before = dict(vars(solver))
    first = solver(mixture, x1[:2])
    solver(gaussian, x1[:3])
    assert torch.equal(solver(mixture, x1[:2]), first) and vars(solver) == before


def test_the_number_of_calls_is_bounded(mixture, x1):
    needed = int(Adaptive().integrate(mixture, x1[:2])[1].max())
    assert int(Adaptive(max_nfe=needed).integrate(mixture, x1[:2])[1].max()) == needed
    spy = Spy(mixture)
    with pytest.raises(ValueError, match=f"not done after {needed - 4} .*raise atol"):
        Adaptive(max_nfe=needed - 1).integrate(spy, x1[:2])
    assert len(spy.evaluated) <= needed - 1


@pytest.mark.parametrize("broken, message", [(1, "evaluation 4"), (2, "evaluation 4"), (8, "evaluation 10")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_network_is_reported(broken, message, value, mixture, x1):
    calls = []

    class Broken:
        schedule, t_max = mixture.schedule, 1.0

        def __call__(self, x_t, t, cond=None):
            calls.append(1)
            return torch.full_like(x_t, value) if len(calls) == broken else mixture(x_t, t)

    with pytest.raises(ValueError, match=message):
        Adaptive()(Broken(), x1[:2])


def test_a_network_that_breaks_last_is_reported(gaussian, x1):
    class Broken:
        schedule, t_max = gaussian.schedule, 1.0

        def __call__(self, x_t, t, cond=None):
            last = isinstance(t, float) and t < 0.5
            return gaussian(x_t, t) * (math.nan if last else 1)

    with pytest.raises(ValueError, match="after the last step"):
        Adaptive()(Broken(), x1[:2])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"order": 1}, "order is 2 or 3"),
        ({"order": 4}, "order is 2 or 3"),
        ({"predict": "v"}, "x0 or epsilon"),
        ({"atol": 0.0}, "atol > 0"),
        ({"rtol": -0.1}, "rtol >= 0"),
        ({"first_step": 0.0}, "first_step > 0"),
        ({"safety": 1.0}, "safety < 1"),
        ({"safety": 0.0}, "0 < safety"),
        ({"log_snr_min": 10.0}, "below log_snr_max"),
        ({"log_snr_max": math.inf}, "below log_snr_max"),
        ({"log_snr_min": -math.inf}, "below log_snr_max"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Adaptive(**arguments)


def test_relative_tolerance_may_be_zero(gaussian, x1):
    assert torch.isfinite(Adaptive(rtol=0.0)(gaussian, x1[:2])).all()


def test_states_of_any_rank(gaussian, x1):
    """(B, T) and (B, C, T) alike."""
    solver = Adaptive()
    oracle = GaussianOracle(gaussian.mean, gaussian.covariance, Cosine())
    assert torch.allclose(solver(oracle, x1[:3, 0]), solver(oracle, x1[:3])[:, 0], rtol=0, atol=1e-12)
