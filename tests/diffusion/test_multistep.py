"""The multistep family against closed forms: weights, published formulas, orders of convergence."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion import grid
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.multistep import RATES, Multistep, interpolation_weights, kernel_moments
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.sampler import DDIM, Levels
from audiodiff.diffusion.schedule import Cosine, LinearBeta

FAMILY = [(order, predict) for order in (1, 2, 3) for predict in RATES]
OBJECTIVES = [Epsilon, X0, V]


def _quadrature(function, start, stop, pieces=8):
    """Composite 8-point Gauss-Legendre, exact to rounding for what is integrated here."""
    nodes, weights = torch.linalg.eigh(_jacobi(8))
    weights = 2 * weights[0] ** 2
    edges = torch.linspace(start, stop, pieces + 1, dtype=torch.float64)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    points = middle[:, None] + half[:, None] * nodes
    return float((function(points) * weights * half[:, None]).sum())


def _jacobi(n):
    k = torch.arange(1, n, dtype=torch.float64)
    return torch.diag(k / torch.sqrt(4 * k**2 - 1), 1) + torch.diag(k / torch.sqrt(4 * k**2 - 1), -1)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 8))
def test_moments_are_the_integrals(decay):
    for j, moment in enumerate(kernel_moments(decay, 3)):
        expected = _quadrature(lambda u, j=j: torch.exp(-decay * (1 - u)) * u**j, 0.0, 1.0, pieces=12)
        assert moment == pytest.approx(expected, rel=2e-14)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, -1, 0]),
    st.integers(1, 3),
    st.floats(-5, 5),
    st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    st.sampled_from([1, -1]),
)
def test_weights_integrate_polynomials_exactly(rate, order, start, gaps, direction):
    """Degree order - 1 on uneven nodes, to 1e-14 of what is added up."""
    nodes = [start, start - direction * gaps[1], start - direction * (gaps[1] + gaps[2])][:order]
    stop = start + direction * gaps[0]
    weights = interpolation_weights(nodes, start, stop, rate)
    heavy = start if rate < 0 else stop
    for degree in range(order):
        total = sum(w * (node - start) ** degree for w, node in zip(weights, nodes, strict=True))
        expected = _quadrature(
            lambda c, d=degree: torch.exp(-abs(rate) * (c - heavy).abs()) * (c - start) ** d, start, stop, pieces=6
        )
        scale = sum(abs(w) for w in weights) * max(1.0, *(abs(node - start) for node in nodes)) ** degree
        assert abs(total - expected) < 1e-14 * max(scale, 1.0)


class _Polynomial:
    """A denoiser whose feature is a given polynomial of the coordinate, whatever the state."""

    t_max = 1.0

    def __init__(self, schedule, predict, coefficients):
        self.schedule, self.predict, self.coefficients = schedule, predict, coefficients

    def feature(self, coordinate):
        return sum(c * coordinate**i for i, c in enumerate(self.coefficients))

    def __call__(self, x_t, t, cond=None):
        alpha, sigma = float(self.schedule.alpha(t)), float(self.schedule.sigma(t))
        if self.predict == "v":
            return alpha * x_t - sigma * self.feature(math.atan2(sigma, alpha))
        feature = self.feature(math.log(alpha / sigma))
        return torch.full_like(x_t, feature) if self.predict == "x0" else (x_t - sigma * feature) / alpha


@pytest.mark.parametrize("order, predict", FAMILY)
def test_a_whole_call_is_exact_on_polynomials(order, predict, schedule):
    """A feature of degree order - 2 is integrated exactly by every step, the corrected first one included."""
    coefficients = [0.7, -0.3][: max(order - 1, 1)]
    denoiser = _Polynomial(schedule, predict, coefficients)
    times = torch.tensor([0.93, 0.8, 0.55, 0.5, 0.2, 0.13], dtype=torch.float64)
    x = torch.tensor([[[1.3]]], dtype=torch.float64)
    alphas, sigmas = schedule.alpha(times).tolist(), schedule.sigma(times).tolist()
    ratio = [math.log(a / s) for a, s in zip(alphas, sigmas, strict=True)]
    if predict == "x0":
        integral = _quadrature(lambda c: torch.exp(c) * denoiser.feature(c), ratio[0], ratio[-1], 40)
        expected = sigmas[-1] * (1.3 / sigmas[0] + integral)
    elif predict == "epsilon":
        integral = _quadrature(lambda c: torch.exp(-c) * denoiser.feature(c), ratio[0], ratio[-1], 40)
        expected = alphas[-1] * (1.3 / alphas[0] - integral)
    else:
        angle = [math.atan2(s, a) for a, s in zip(alphas, sigmas, strict=True)]
        expected = 1.3 + _quadrature(denoiser.feature, angle[0], angle[-1], 4)
    assert float(Multistep(5, order, predict, times)(denoiser, x)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("predict", RATES)
def test_full_order_step_is_exact_one_degree_higher(order, predict):
    """The step after the start integrates degree order - 1 exactly; the published third order does not."""
    schedule = Cosine()
    times = torch.tensor([0.9, 0.7, 0.6, 0.35, 0.3], dtype=torch.float64)
    levels = Levels.of(schedule, times)
    solver = Multistep(4, order, predict, times)
    row = solver.steps(schedule, times)[-1]
    angle = [math.atan2(s, a) for a, s in zip(levels.alpha, levels.sigma, strict=True)]
    nodes = angle if predict == "v" else [log_snr / 2 for log_snr in levels.log_snr]
    degree = order - 1
    total = sum(w * node**degree for w, node in zip(row.weights, nodes[3::-1], strict=False))
    kernel = {
        "x0": lambda c: levels.sigma[4] * torch.exp(c),
        "epsilon": lambda c: -levels.alpha[4] * torch.exp(-c),
        "v": torch.ones_like,
    }[predict]
    assert total == pytest.approx(_quadrature(lambda c: kernel(c) * c**degree, nodes[3], nodes[4]), rel=1e-12)


@pytest.mark.parametrize("predict", ["x0", "epsilon"])
def test_order_one_is_ddim(predict, schedule, mixture, x1):
    mixture.schedule = schedule
    times = grid.karras(schedule, 12)
    ddim = DDIM(12, grid=times)(mixture, x1)
    assert torch.allclose(Multistep(12, 1, predict, times)(mixture, x1), ddim, rtol=0, atol=1e-13)
    x = x1
    for t, s in pairwise(times):  # Song et al. eq. 12 with eta = 0
        x0 = mixture(x, t)
        x = schedule.alpha(s) * x0 + schedule.sigma(s) * (x - schedule.alpha(t) * x0) / schedule.sigma(t)
    assert torch.allclose(ddim, x, rtol=0, atol=1e-13)


def test_order_two_is_published_2m(gaussian, schedule, x1):
    """DPM-Solver++(2M), Lu et al. 2211.01095, algorithm 2, with the exact (taylor) weight of the difference."""
    gaussian.schedule = schedule
    times = grid.karras(schedule, 10, log_snr_min=-8, to_zero=False)
    lam, alpha, sigma = schedule.half_log_snr(times), schedule.alpha(times), schedule.sigma(times)
    x, previous = x1, None
    for n in range(10):
        x0, h = gaussian(x, times[n]), lam[n + 1] - lam[n]
        phi_1 = torch.expm1(-h)
        step = sigma[n + 1] / sigma[n] * x - alpha[n + 1] * phi_1 * x0
        if n > 0:
            difference = (x0 - previous) / ((lam[n] - lam[n - 1]) / h)
            step = step + alpha[n + 1] * (phi_1 / h + 1) * difference
        x, previous = step, x0
    assert torch.allclose(Multistep(10, 2, "x0", times)(gaussian, x1), x, rtol=0, atol=1e-12)


def _order(sampler_of, make_grid, oracle, denoiser, x1, counts=(100, 200)):
    """The order seen between two numbers of calls, one twice the other, and both errors."""
    errors = []
    for n in counts:
        times = make_grid(n)
        exact = oracle.flow(x1, float(times[0]), float(times[-1]))
        errors.append(float((sampler_of(n, times)(denoiser, x1) - exact).square().mean().sqrt()))
    return math.log2(errors[0] / errors[1]), errors


def _denoiser(oracle, objective):
    return Denoiser(oracle.as_network(objective()), oracle.schedule, objective())


# At a log_snr of -2 the first step is damped by nothing: third order with a start of first order shows order 2 here.
@pytest.mark.parametrize("log_snr_min", [-2.0, pytest.param(-8.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("order, predict", FAMILY)
def test_nominal_order_on_half_log_snr_grids(order, predict, objective, log_snr_min, gaussian, x1):
    seen, _ = _order(
        lambda n, times: Multistep(n, order, predict, times),
        lambda n: grid.uniform_log_snr(gaussian.schedule, n, log_snr_min, 7.0, to_zero=False),
        gaussian,
        _denoiser(gaussian, objective),
        x1[:8],
    )
    assert seen > order - 0.15


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nominal_order_of_ddim(objective, gaussian, x1):
    seen, _ = _order(
        lambda n, times: DDIM(n, grid=times),
        lambda n: grid.uniform_log_snr(gaussian.schedule, n, -2.0, 7.0, to_zero=False),
        gaussian,
        _denoiser(gaussian, objective),
        x1[:8],
    )
    assert abs(seen - 1) < 0.15


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("order, predict", FAMILY)
def test_uniform_t_down_to_zero(order, predict, objective, gaussian, x1):
    """Finite and falling for those that interpolate in half-log-SNR; nominal order in the angle."""
    denoiser = _denoiser(gaussian, objective)
    seen, errors = _order(
        lambda n, times: Multistep(n, order, predict, times),
        lambda n: grid.uniform_t(gaussian.schedule, n, min(denoiser.t_max, 0.99)),
        gaussian,
        denoiser,
        x1[:8],
        (80, 160),
    )
    assert all(math.isfinite(e) for e in errors)
    assert seen > (order - 0.15 if predict == "v" else 0.85)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_angle_reaches_nominal_order_between_the_pure_ends(order, gaussian, x1):
    seen, errors = _order(
        lambda n, times: Multistep(n, order, "v", times),
        lambda n: grid.uniform_t(gaussian.schedule, n),
        gaussian,
        gaussian,
        x1[:8],
    )
    assert seen > order - 0.15
    assert errors[-1] < (1e-1, 1e-3, 1e-6)[order - 1]


@pytest.mark.slow
@pytest.mark.parametrize("predict", RATES)
def test_order_on_a_mixture(predict, mixture, x1):
    """Not only on linear problems; against the third order at many more steps."""

    def sample(n, order):
        times = grid.uniform_log_snr(mixture.schedule, n, -6.0, 4.0, to_zero=False)
        return Multistep(n, order, predict, times)(mixture, x1[:8])

    exact = sample(1200, 3)
    for order in (1, 2, 3):
        coarse, fine = (float((sample(n, order) - exact).square().mean().sqrt()) for n in (150, 300))
        assert math.log2(coarse / fine) > order - 0.15


@pytest.mark.parametrize("order, predict", FAMILY)
@pytest.mark.parametrize("nfe", [1, 2, 3])
@pytest.mark.parametrize("make", [grid.uniform_t, grid.uniform_log_snr, grid.karras, grid.balanced])
def test_fewer_steps_than_the_order(order, predict, nfe, make, mixture, x1):
    answer = Multistep(nfe, order, predict, make(mixture.schedule, nfe))(mixture, x1)
    assert torch.isfinite(answer).all() and float(answer.abs().max()) < 50


@pytest.mark.parametrize("order, predict", [member for member in FAMILY if member[1] != "v"])
@pytest.mark.parametrize("schedule_", [Cosine(), LinearBeta()], ids=["cosine", "linear_beta"])
def test_a_constant_estimate_is_the_answer(order, predict, schedule_):
    """Where x0 is one known point, x0 and noise never change, and a sampler in half-log-SNR is exact on any grid.

    Not in the angle: v turns with it even then.
    """

    class Point:
        schedule, t_max = schedule_, 1.0

        def __call__(self, x_t, t, cond=None):
            return torch.full_like(x_t, 2.5)

    answer = Multistep(6, order, predict)(Point(), torch.ones(1, 1, 3, dtype=torch.float64))
    assert torch.allclose(answer, torch.full_like(answer, 2.5), rtol=0, atol=1e-13)


def test_default_grids_reach_zero_from_t_max(schedule):
    for order, predict in FAMILY:
        for nfe in (1, 2, 6, 300):
            times = Multistep(nfe, order, predict).default_grid(schedule, 0.99)
            assert times[0] == 0.99 and times[-1] == 0 and len(times) == nfe + 1


@pytest.mark.parametrize(
    "arguments, message",
    [((3, 4), "1 to 3"), ((3, 0), "1 to 3"), ((3, 2, "score"), "x0, epsilon, v"), ((0, 2), "at least one")],
)
def test_multistep_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Multistep(*arguments)
