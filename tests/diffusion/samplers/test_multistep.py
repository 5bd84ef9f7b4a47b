"""The multistep family against closed forms: weights, published formulas, orders of convergence."""

import math
from itertools import pairwise

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.integral import COORDINATES, PREDICTIONS, Integral
from audiodiff.diffusion.samplers.multistep import Multistep, invert
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta

FAMILY = [(order, predict) for order in (1, 2, 3) for predict in PREDICTIONS]
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


MEMBERS = [
    (predict, coordinate, corrector)
    for predict in PREDICTIONS
    for coordinate in COORDINATES
    for corrector in (False, True)
]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("predict, coordinate, corrector", MEMBERS)
def test_every_entry_of_the_table(predict, coordinate, corrector, order, schedule):
    """Row by row: what the step's own integral weighs, plus carry times what the step before left to correct."""
    angles = torch.tensor([1.3, 1.1, 0.93, 0.75, 0.57, 0.42], dtype=torch.float64)
    times = schedule.t_from_log_snr(-2 * torch.log(torch.tan(angles)))
    levels = schedule.levels(times)
    integral = Integral(schedule, predict, coordinate)
    table = Multistep(5, order, predict, times, coordinate, corrector).steps(schedule, times)
    owed = [0.0] * 6
    for n, step in enumerate(table):
        start, stop = levels[n], levels[n + 1]
        nodes = levels[: n + 1][::-1]
        own = integral.weights(nodes[:order], start, stop)
        carry = integral.carry(start, stop)
        expected = [(own[i] if i < len(own) else 0.0) + carry * owed[i] for i in range(len(step.weights))]
        assert step.weights == pytest.approx(expected, rel=1e-14, abs=1e-15)
        assert len(step.weights) <= order + 1 and step.carry == (carry,) and step.noise == 0
        assert step.t == float(times[n]) and step.feature == integral.feature(start)
        size = len(own)
        owed = [0.0] * 6
        if corrector or size < order - 1:
            again = integral.weights([stop, *nodes[:size]], start, stop)
            owed = [a - b for a, b in zip(again, [0.0, *own], strict=True)] + [0.0] * 6


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("predict", PREDICTIONS)
def test_the_corrector_makes_a_whole_call_exact_one_degree_higher(order, predict):
    """Features of degree order - 1 in the coordinate are integrated exactly by every step but the last.

    The last is not corrected, but at full order needs no correction; the corrected ones are exact even while few
    outputs are known: with one, to degree 1.
    """
    schedule = Cosine()
    denoiser = _Polynomial(schedule, predict, [0.4, -0.7])
    times = torch.tensor([0.93, 0.8, 0.55, 0.5, 0.2, 0.13], dtype=torch.float64)
    x = torch.tensor([[[1.3]]], dtype=torch.float64)
    exact = float(Multistep(5, order, predict, times, corrector=True)(denoiser, x))
    fine = torch.cat([torch.linspace(float(a), float(b), 81, dtype=torch.float64)[:-1] for a, b in pairwise(times)])
    fine = torch.cat([fine, times[-1:]])
    assert exact == pytest.approx(float(Multistep(400, 3, predict, fine)(denoiser, x)), rel=1e-12)


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
@pytest.mark.parametrize("predict", PREDICTIONS)
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
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("make", [grid.uniform_t, grid.uniform_log_snr, grid.karras, grid.balanced])
@pytest.mark.parametrize("corrector", [False, True])
def test_as_few_calls_as_the_order(order, predict, extra, make, corrector, mixture, x1):
    nfe = order + extra
    answer = Multistep(nfe, order, predict, make(mixture.schedule, nfe), corrector=corrector)(mixture, x1)
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
        for nfe in (4, 6, 300):
            times = Multistep(nfe, order, predict).default_grid(schedule, 0.99)
            assert times[0] == 0.99 and times[-1] == 0 and len(times) == nfe + 1
    even = grid.uniform_t(schedule, 6, 0.99)
    for sampler in (Multistep(6, 1), Multistep(6, 3, "epsilon", coordinate="t")):
        assert torch.equal(sampler.default_grid(schedule, 0.99), even)
    assert torch.equal(Multistep(6, 3, "v").default_grid(schedule, 0.99), grid.warped_angle(schedule, 6, 0.99))
    assert torch.equal(Multistep(6, 2).default_grid(schedule, 0.99), grid.balanced(schedule, 6, 0.99))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("predict", PREDICTIONS)
def test_the_corrector_adds_an_order(order, predict, gaussian, x1):
    seen, _ = _order(
        lambda n, times: Multistep(n, order, predict, times, corrector=True),
        lambda n: grid.uniform_log_snr(gaussian.schedule, n, -8.0, 7.0, to_zero=False),
        gaussian,
        gaussian,
        x1[:8],
        (160, 320),
    )
    assert seen > order + 1 - 0.2


@pytest.mark.parametrize("coordinate", ["angle", "ratio", "t"])
@pytest.mark.parametrize("predict", ["x0", "epsilon", "v"])
def test_every_coordinate_reaches_the_order(predict, coordinate, gaussian, x1):
    seen, _ = _order(
        lambda n, times: Multistep(n, 3, predict, times, coordinate),
        lambda n: grid.uniform_log_snr(gaussian.schedule, n, -3.0, 3.0, to_zero=False),
        gaussian,
        gaussian,
        x1[:4],
        (160, 320),
    )
    assert seen > 2.8


def _inversion_error(n, order, oracle, x0, predict="v"):
    times = grid.uniform_log_snr(oracle.schedule, n, -3.0, 4.0, to_zero=False)
    sampler = Multistep(n, order, predict, times)
    return float((sampler(oracle, invert(sampler, oracle, x0)) - x0).square().mean().sqrt())


@pytest.mark.parametrize("predict", PREDICTIONS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_inversion_and_back_is_the_identity_to_the_order(order, predict, gaussian, x1):
    x0 = gaussian.flow(x1[:8], 1.0, 0.1)
    coarse, fine = (_inversion_error(n, order, gaussian, x0, predict) for n in (80, 160))
    assert math.log2(coarse / fine) > order - 0.2 and fine < (0.05, 1e-3, 1e-4)[order - 1], (coarse, fine)


def test_inversion_of_a_single_step_is_ddim_backwards(gaussian, x1):
    times = torch.tensor([0.8, 0.2], dtype=torch.float64)
    first, last = gaussian.schedule.levels(times)
    noise = (x1 - last.alpha * gaussian(x1, 0.2)) / last.sigma
    expected = first.alpha * gaussian(x1, 0.2) + first.sigma * noise
    assert torch.allclose(invert(Multistep(1, 1, grid=times), gaussian, x1), expected, rtol=0, atol=1e-13)


def test_inversion_finds_the_state_of_the_flow(gaussian, x1):
    times = grid.uniform_t(gaussian.schedule, 200, 1.0, 0.01)
    x0 = gaussian.flow(x1[:8], 1.0, 0.01)
    assert torch.allclose(invert(Multistep(200, 3, "v", times), gaussian, x0), x1[:8], rtol=0, atol=1e-4)


def test_inversion_from_clean_data_leaves_the_last_interval_out(gaussian, x1):
    sampler = Multistep(50, 2, "v", grid.uniform_t(gaussian.schedule, 50))
    x0 = gaussian.flow(x1[:8], 1.0, 0.0)
    first = gaussian.schedule.level(0.02)
    inner = Multistep(49, 2, "v", grid.uniform_t(gaussian.schedule, 50)[:-1])
    assert torch.equal(invert(sampler, gaussian, x0), invert(inner, gaussian, first.alpha * x0))
    assert invert(sampler, gaussian, x0.float()).dtype == torch.float32


@pytest.mark.parametrize(
    "sampler, message",
    [
        (Multistep(4, 2, eta=1.0), "deterministic"),
        (Multistep(1, 1), "at least two times"),
    ],
)
def test_what_cannot_be_inverted(sampler, message, gaussian, x1):
    with pytest.raises(ValueError, match=message):
        invert(sampler, gaussian, x1)


def test_a_broken_inversion_says_so(gaussian, x1):
    with pytest.raises(ValueError, match="step 1 of 3"):
        invert(Multistep(4, 2, "v"), gaussian, x1 * math.nan)


def _gain_variance(sampler, std):
    """Exact output variance on a centered Gaussian of one variable: the sampler is linear in its inputs."""
    oracle = GaussianOracle(torch.zeros(1), torch.tensor([[std**2]], dtype=torch.float64), Cosine())
    inputs = torch.eye(sampler.nfe + 1, dtype=torch.float64)
    start = math.sqrt(Cosine().level(0.97).alpha ** 2 * std**2 + Cosine().level(0.97).sigma ** 2)
    x = inputs[:, :1] * start
    return float(sampler(oracle, x, noise=lambda step: inputs[:, step + 1 : step + 2]).square().sum())


@pytest.mark.parametrize("predict", ["x0", "epsilon"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_weak_order_of_the_reverse_sde(predict, order, eta):
    """The variance of the end tends to the exact one; from order 1 to 2 the mean part gains an order."""
    level = Cosine().level(0.1)
    exact = level.alpha**2 * 0.49 + level.sigma**2
    errors = []
    for n in (100, 200):
        times = grid.uniform_log_snr(Cosine(), n, float(Cosine().log_snr(0.97)), level.log_snr, to_zero=False)
        times[0], times[-1] = 0.97, 0.1
        errors.append(abs(_gain_variance(Multistep(n, order, predict, times, eta=eta), 0.7) - exact))
    assert math.log2(errors[0] / errors[1]) > order - 0.25 and errors[1] < (2e-2, 1e-3)[order - 1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((5, 5), "1 to 4"),
        ((3, 0), "1 to 4"),
        ((3, 2, "score"), "x0, epsilon, v"),
        ((0, 2), "nfe >= 1"),
        ((2, 3), "order 3 needs nfe >= 3, got 2"),
        ((4, 2, "x0", None, "space"), "coordinate"),
        ((4, 2, "x0", None, None, True, 1.0), "corrector needs eta = 0"),
        ((4, 2, "v", None, None, False, 1.0), "eta > 0"),
    ],
)
def test_multistep_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Multistep(*arguments)
