import copy
import inspect
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.schedules.learned import LearnedSchedule, bound_at, with_path_gradient

T = torch.linspace(0, 1, 501, dtype=torch.float64)
# Data of many scales, so that the bound's integrand is uneven.
VARIANCES = torch.logspace(-2, 0.5, 32, dtype=torch.float64)


def disturbed(seed=0, **arguments):
    """A schedule with a path of no particular shape."""
    schedule = LearnedSchedule(**({"sigmoids": 9} | arguments))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in schedule.path_parameters():
            parameter += torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return schedule


def oracle(schedule):
    return GaussianOracle(torch.zeros(len(VARIANCES)), torch.diag(VARIANCES), schedule)


def batch(size, seed):
    """Clean signals of the oracle, noise, times."""
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, size, len(VARIANCES), generator=generator, dtype=torch.float64)
    return x0 * VARIANCES.sqrt(), noise, torch.rand(size, generator=generator, dtype=torch.float64)


def moments(schedule, points=4000):
    """Exact mean and variance of `bound_at` over times, data and noise.

    At a noise level, noise - noise_hat is Gaussian with the variances share = snr v / (snr v + 1).
    """
    t = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    with torch.no_grad():
        snr, rate = schedule.log_snr(t).exp()[:, None], schedule.rate(t)
    share = snr * VARIANCES / (snr * VARIANCES + 1)
    mean = (rate * share.sum(1) / 2).mean()
    square = (rate**2 / 4 * (share.sum(1) ** 2 + 2 * (share**2).sum(1))).mean()
    return float(mean), float(square - mean**2)


def test_it_is_the_formula():
    schedule = disturbed()
    centers, steepness, weights = (p.detach() for p in schedule.path_parameters())

    def height(t):
        sigmoids = (
            math.exp(w) / (1 + math.exp(-math.exp(s) * (t - c)))
            for c, s, w in zip(centers, steepness, weights, strict=True)
        )
        return t + sum(sigmoids)

    for t in (0.1, 0.37, 0.9):
        share = (height(t) - height(0)) / (height(1) - height(0))
        level = schedule.level(t)
        assert level.log_snr == pytest.approx(13.3 - 18.3 * share, abs=1e-12)
        assert level.alpha**2 == pytest.approx(1 / (1 + math.exp(-level.log_snr)), rel=1e-12)


@torch.no_grad()
def test_it_starts_as_a_line():
    schedule = LearnedSchedule()
    line = 13.3 - 18.3 * T
    assert float((schedule.log_snr(T) - line).abs().max()) < 0.05
    inner = schedule.rate(T[50:-50])
    assert float(inner.max() / inner.min()) < 1.003
    k = torch.arange(64, dtype=torch.float64)
    assert torch.allclose(schedule.centers, (k + 0.5) / 64, rtol=1e-15)
    assert torch.allclose(schedule.log_steepness, torch.full_like(k, math.log(128)), rtol=1e-15)
    assert torch.allclose(schedule.log_weights, torch.full_like(k, -math.log(64)), rtol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_exact_at_both_ends_and_falls(seed):
    schedule = disturbed(seed, log_snr_min=-7.3, log_snr_max=11.1)
    assert schedule.log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist() == [11.1, -7.3]
    assert (schedule.log_snr(T).diff() < 0).all()
    assert schedule.level(0.0).sigma ** 2 == pytest.approx(1 / (1 + math.exp(11.1)), rel=1e-14)
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=5e-16)


@given(st.integers(0, 100), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_round_trip(seed, t):
    schedule = disturbed(seed)
    with torch.no_grad():
        assert float(schedule.t_from_log_snr(schedule.log_snr(t))) == pytest.approx(t, abs=1e-10)


def test_levels_beyond_the_ends_are_the_ends():
    far = torch.tensor([math.inf, 20.0, -20.0, -math.inf], dtype=torch.float64)
    assert disturbed().t_from_log_snr(far).tolist() == pytest.approx([0, 0, 1, 1], abs=1e-14)


def test_rate_is_the_derivative():
    schedule = disturbed()
    t = T.clone().requires_grad_()
    (slope,) = torch.autograd.grad(schedule.log_snr(t).sum(), t)
    assert torch.allclose(schedule.rate(T), -slope, rtol=1e-12)
    assert (schedule.rate(T) > 0).all()
    assert schedule.rate(T.float()).dtype == torch.float32


def test_gradients_of_levels_and_of_times():
    schedule = disturbed(sigmoids=3)
    names = [f"schedule.{name}" for name, _ in schedule.named_parameters()]

    def levels(*values):
        return torch.func.functional_call(_Levels(schedule), dict(zip(names, values, strict=True)), ())

    values = [p.detach().clone().requires_grad_() for p in schedule.parameters()]
    assert torch.autograd.gradcheck(levels, values, eps=1e-6, atol=1e-5)


class _Levels(nn.Module):
    """All of a schedule's functions at a few places, as a function of its parameters."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self):
        t = torch.tensor([[0.0, 0.2], [0.7, 1.0]], dtype=torch.float64)
        log_snr = torch.tensor([9.0, 1.0, -4.0], dtype=torch.float64)
        s = self.schedule
        return s.alpha(t), s.sigma(t), s.log_snr(t), s.rate(t), s.t_from_log_snr(log_snr)


def test_it_is_part_of_its_denoiser():
    denoiser = Denoiser(lambda y, log_snr, cond: y * log_snr[:, None, None], disturbed(), V())
    names = {"ends", "centers", "log_steepness", "log_weights"}
    assert set(denoiser.state_dict()) == {f"schedule.{name}" for name in names}
    other = Denoiser(denoiser.network, disturbed(1), V())
    other.load_state_dict(denoiser.state_dict())
    assert torch.equal(other.schedule.log_snr(T), denoiser.schedule.log_snr(T))
    assert torch.equal(copy.deepcopy(denoiser).schedule.log_snr(T), denoiser.schedule.log_snr(T))
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4, 1, 8, generator=generator)
    denoiser.loss(x0, noise, torch.rand(4, generator=generator)).loss.mean().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in denoiser.schedule.parameters())


def test_numbers_of_a_trained_one_are_read_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.set_warn_always(True)
        try:
            assert disturbed().level(0.0).log_snr == 13.3
        finally:
            torch.set_warn_always(False)


def test_arguments_are_kept():
    schedule = LearnedSchedule(-6.0, 9.0, 5)
    assert [getattr(schedule, name) for name in inspect.signature(LearnedSchedule).parameters] == [-6.0, 9.0, 5]
    assert [len(parameter) for parameter in schedule.path_parameters()] == [5, 5, 5]
    assert LearnedSchedule(sigmoids=1).level(0.5).log_snr == pytest.approx(4.15, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1.0, 1.0), "log_snr_min"),
        ((2.0, 1.0), "log_snr_min"),
        ((math.nan, 1.0), "log_snr_min"),
        ((-math.inf, 1.0), "log_snr_min"),
        ((0.0, math.inf), "log_snr_min"),
        ((0.0, 1.0, 0), "sigmoid"),
    ],
)
def test_what_it_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        LearnedSchedule(*arguments)


def test_the_bound_has_its_closed_form_on_a_gaussian():
    schedule = disturbed(log_snr_min=-12.0, log_snr_max=8.0)
    mean, variance = moments(schedule, 50_000)
    ends = math.exp(8) * VARIANCES + 1, math.exp(-12) * VARIANCES + 1
    assert mean == pytest.approx(float(0.5 * torch.log(ends[0] / ends[1]).sum()), rel=1e-6)
    with torch.no_grad():
        drawn = bound_at(oracle(schedule), *batch(50_000, 0))
    assert float(drawn.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / 50_000))
    assert float(drawn.var()) == pytest.approx(variance, rel=0.05)


def test_the_bound_is_the_error_of_the_noise():
    schedule = disturbed()
    x0, noise, t = batch(8, 3)
    alpha, sigma, rate = (f(t)[:, None] for f in (schedule.alpha, schedule.sigma, schedule.rate))
    x_t = alpha * x0 + sigma * noise
    noise_hat = (x_t - alpha * oracle(schedule)(x_t, t)) / sigma
    expected = (rate / 2 * (noise - noise_hat) ** 2).sum(1)
    assert torch.allclose(bound_at(oracle(schedule), x0, noise, t), expected, rtol=1e-8)


def test_the_bound_takes_signals_of_any_shape_and_precision():
    schedule = disturbed()
    x0, noise, t = batch(8, 1)
    exact = bound_at(oracle(schedule), x0, noise, t)
    single = bound_at(oracle(schedule), x0.float().reshape(8, 2, 16), noise.float().reshape(8, 2, 16), t.float())
    assert exact.shape == single.shape == (8,)
    assert exact.dtype == single.dtype == torch.float64
    assert torch.allclose(exact, single, rtol=1e-3)


def test_the_path_gets_the_gradient_of_the_square_and_all_else_that_of_the_mean():
    schedule = disturbed()
    drawn = bound_at(oracle(schedule), *batch(16, 2))
    path, ends = schedule.path_parameters(), schedule.ends
    of_square = torch.autograd.grad(drawn.square().mean(), path, retain_graph=True)
    (of_mean,) = torch.autograd.grad(drawn.mean(), ends, retain_graph=True)
    loss = with_path_gradient(drawn, schedule)
    assert torch.equal(loss, drawn.mean())
    loss.backward()
    assert torch.allclose(ends.grad, of_mean, rtol=1e-12)
    for parameter, gradient in zip(path, of_square, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-9, atol=1e-9 * float(gradient.abs().max()))


def test_training_lowers_the_variance_and_keeps_the_mean():
    schedule = LearnedSchedule(-12.0, 8.0, sigmoids=16)
    mean, variance = moments(schedule)
    optimizer = torch.optim.Adam(schedule.path_parameters(), lr=0.03)
    for step in range(150):
        optimizer.zero_grad()
        with_path_gradient(bound_at(oracle(schedule), *batch(256, step)), schedule).backward()
        optimizer.step()
    trained_mean, trained_variance = moments(schedule)
    assert trained_mean == pytest.approx(mean, rel=1e-4)
    assert trained_variance < variance / 8
    # No path has less: by Cauchy and Schwarz the best rate is inverse to the integrand's root mean square.
    log_snr = torch.linspace(-12, 8, 20_001, dtype=torch.float64)
    share = log_snr.exp()[:, None] * VARIANCES
    share = share / (share + 1)
    root = torch.sqrt(share.sum(1) ** 2 + 2 * (share**2).sum(1)) / 2
    assert trained_variance > float(torch.trapezoid(root, log_snr) ** 2) - mean**2
