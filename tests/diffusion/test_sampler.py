import math
from itertools import pairwise

import pytest
import torch

from audiodiff.diffusion import grid
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.presets import NAMES, build
from audiodiff.diffusion.sampler import DDIM, Ancestral
from audiodiff.diffusion.schedule import Cosine, LinearBeta

STOCHASTIC = [Ancestral(7), Ancestral(7, "large"), DDIM(7, 1.0), DDIM(7, 0.5), DDIM(7)]
OBJECTIVES = [Epsilon, X0, V]


def _scalar(std, schedule=None):
    return GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.tensor([[std**2]], dtype=torch.float64), schedule or Cosine()
    )


def _output_variance(sampler, oracle):
    """Exact: a sampler is linear on a centred Gaussian, so its response to each unit input is a gain."""
    inputs = torch.eye(sampler.nfe + 1, dtype=torch.float64)
    return float(sampler(oracle, inputs[:, :1], noise=lambda step: inputs[:, step + 1 : step + 2]).square().sum())


def _recursion(sampler, std, schedule, times):
    """Output variance by the published update rules in alpha-bar, written out for one Gaussian variable."""
    variance = 1.0
    bars = [float(schedule.alpha(t)) ** 2 for t in times]
    for bar_t, bar_s in pairwise(bars):
        gain = math.sqrt(bar_t) * std**2 / (bar_t * std**2 + 1 - bar_t)  # x0 = gain x
        if isinstance(sampler, Ancestral):  # Ho et al. eq. 7 and algorithm 2
            beta = 1 - bar_t / bar_s
            factor = math.sqrt(bar_s) * beta / (1 - bar_t) * gain + math.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t)
            added = beta if sampler.variance == "large" else (1 - bar_s) / (1 - bar_t) * beta
            added = added if bar_s < 1 else 0.0
        else:  # Song et al. eq. 12 and 16
            added = sampler.eta**2 * (1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s)
            epsilon = (1 - math.sqrt(bar_t) * gain) / math.sqrt(1 - bar_t)
            factor = math.sqrt(bar_s) * gain + math.sqrt(1 - bar_s - added) * epsilon
        variance = factor**2 * variance + added
    return variance


@pytest.mark.parametrize("sampler", STOCHASTIC)
@pytest.mark.parametrize("std", [0.03, 0.5, 2.0])
def test_output_covariance_is_the_recursion(sampler, std, schedule):
    times = grid.uniform_t(schedule, sampler.nfe)
    expected = _recursion(sampler, std, schedule, times.tolist())
    assert _output_variance(sampler, _scalar(std, schedule)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kind", [Ancestral, lambda n: Ancestral(n, "large"), lambda n: DDIM(n, 0.5), DDIM])
def test_output_covariance_tends_to_the_truth_at_order_one(kind):
    errors = [abs(_output_variance(kind(n), _scalar(0.5)) / 0.25 - 1) for n in (80, 160, 320)]
    for coarse, fine in pairwise(errors):
        assert 1.8 < coarse / fine < 2.2


def test_published_variances_bracket_the_truth():
    """Small is right for a point and too little for white data, large the other way round (Ho et al. section 3.2)."""
    assert _output_variance(Ancestral(10), _scalar(1.0)) < 1
    assert _output_variance(Ancestral(10, "large"), _scalar(1.0)) == pytest.approx(1 + _last_step_defect(), rel=1e-12)
    assert _output_variance(Ancestral(10), _scalar(1e-9)) == pytest.approx(0, abs=1e-15)


def _last_step_defect():
    # With "large" every step keeps unit variance but the last, which returns E[x0 | x] of variance alpha^2.
    return float(Cosine().alpha(0.1)) ** 2 - 1


def test_posterior_by_bayes(schedule):
    """The table's rows are q(x_s | x_t, x0): its precision and mean from the two Gaussian factors."""
    sampler = Ancestral(6)
    times = grid.uniform_t(schedule, 6, 0.95)
    for step, (t, s) in zip(sampler.steps(schedule, times), pairwise(times[:-1]), strict=False):
        at, st, a, sg = (float(f(u)) for u in (t, s) for f in (schedule.alpha, schedule.sigma))
        ratio, transition = at / a, st**2 - (at / a) ** 2 * sg**2
        precision = ratio**2 / transition + 1 / sg**2
        assert step.noise**2 == pytest.approx(1 / precision, rel=1e-12)
        assert step.carry == pytest.approx(ratio / transition / precision, rel=1e-12)
        assert step.weights[0] == pytest.approx(a / sg**2 / precision, rel=1e-12)


@pytest.mark.parametrize("sampler", STOCHASTIC[:1] + STOCHASTIC[2:])
def test_marginals_are_kept_on_any_grid(sampler, schedule):
    """With the true x0 in the estimate's place every x_s is alpha_s x0 + sigma_s noise again, for any times."""
    times = torch.tensor([1.0, 0.97, 0.6, 0.55, 0.3, 0.05, 0.01, 0.0], dtype=torch.float64)
    mean, variance = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)) ** 2
    for step, s in zip(sampler.steps(schedule, times), times[1:], strict=True):
        mean = step.carry * mean + step.weights[0]
        variance = step.carry**2 * variance + step.noise**2
        assert mean == pytest.approx(float(schedule.alpha(s)), abs=1e-14)
        assert variance == pytest.approx(float(schedule.sigma(s)) ** 2, abs=1e-14)


def test_ddim_with_eta_one_is_ancestral(schedule):
    times = grid.uniform_t(schedule, 9)
    pairs = zip(DDIM(9, 1.0).steps(schedule, times), Ancestral(9).steps(schedule, times), strict=True)
    for ddim, ancestral in pairs:
        assert ddim.carry == pytest.approx(ancestral.carry, abs=1e-14)
        assert ddim.weights == pytest.approx(ancestral.weights, abs=1e-14)
        assert ddim.noise == pytest.approx(ancestral.noise, abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("nfe", [1, 2, 6])
def test_every_objective_samples_from_its_own_start(name, objective, nfe, mixture, x1):
    """Whatever the network predicts the samples are the oracle's own, up to where an epsilon network can start."""
    denoiser = Denoiser(mixture.as_network(objective()), mixture.schedule, objective())
    noise = step_noise(range(len(x1)), 1, 6)
    sampler = build(name, nfe)
    answer = sampler(denoiser, x1, noise=noise)
    assert torch.isfinite(answer).all()
    times = sampler.default_grid(mixture.schedule, denoiser.t_max)
    on_grid = type(sampler).__new__(type(sampler))
    on_grid.__dict__ = sampler.__dict__ | {"grid": times}
    # At t = 1 exactly a network is told log_snr = -20, where alpha is 4.5e-5.
    tolerance = 1e-10 if objective is Epsilon else 1e-2
    assert torch.allclose(on_grid(mixture, x1, noise=noise), answer, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_objectives_agree_to_rounding(name, mixture, x1):
    times = grid.uniform_t(mixture.schedule, 8, 0.99)
    sampler = build(name, 8)
    sampler.grid = times
    noise = step_noise(range(len(x1)), 1, 6)
    answers = [sampler(Denoiser(mixture.as_network(o()), mixture.schedule, o()), x1, noise=noise) for o in OBJECTIVES]
    for answer in answers[1:]:
        assert torch.allclose(answer, answers[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_pure_noise_start_is_the_limit(name, gaussian, x1):
    """As sigma / alpha at the start grows: in proportion to its inverse, or to that of its logarithm where a value at
    an ever more distant half-log-SNR takes part in the second step.
    """
    sampler = build(name, 6)
    noise = step_noise(range(len(x1)), 1, 6)
    start = sampler.default_grid(gaussian.schedule, 1.0)
    sampler.grid = start
    exact = sampler(gaussian, x1, noise=noise)
    errors = []
    for ratio in (1e3, 1e5, 1e7):
        first = gaussian.schedule.t_from_log_snr(torch.tensor([-2 * math.log(ratio)], dtype=torch.float64))
        sampler.grid = torch.cat([first, start[1:]])
        errors.append(float((sampler(gaussian, x1, noise=noise) - exact).square().mean().sqrt()))
    assert errors[0] < 0.05 and errors[0] > errors[1] > errors[2]
    if not name.startswith("dpmpp"):
        assert errors[1] < errors[0] / 30 and errors[2] < errors[1] / 30


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpmpp_2m", "dpmpp_3m"])
def test_last_step_returns_the_estimate(name, mixture, x1):
    seen = []
    answer = build(name, 5)(
        mixture, x1, noise=step_noise(range(len(x1)), 1, 6), callback=lambda step, nfe, x, x0_hat: seen.append(x0_hat)
    )
    assert torch.allclose(answer, seen[-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_shape_and_state_dtype(name, dtype):
    oracle = GaussianOracle(torch.zeros(20), torch.eye(20), Cosine())
    x1 = batch_noise([1, 2, 3], 2, 10).to(dtype)
    states = []
    answer = build(name, 4)(
        oracle, x1, noise=step_noise([1, 2, 3], 2, 10), callback=lambda step, nfe, x, x0_hat: states.append(x.dtype)
    )
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert answer.shape == x1.shape and answer.dtype == expected and set(states) == {expected}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective, bound", [(V, 1e-6), (X0, 1e-6), (Epsilon, 1e-4)])
def test_float32_stays_close_to_float64(name, objective, bound, gaussian, x1):
    """Division by alpha costs an epsilon network digits at the start; the other two lose none."""
    noise = step_noise(range(len(x1)), 1, 6)
    denoiser = Denoiser(gaussian.as_network(objective()), gaussian.schedule, objective())
    single, double = (build(name, 10)(denoiser, x, noise=noise) for x in (x1.float(), x1))
    assert float((single - double).square().mean().sqrt()) < bound


@pytest.mark.parametrize("name", NAMES)
def test_batch_is_singles(name, mixture, x1):
    noise = step_noise(range(8), 1, 6)
    sampler = build(name, 6)
    batch = sampler(mixture, x1[:8], noise=noise)
    for i in range(8):
        single = sampler(mixture, x1[i : i + 1], noise=step_noise([i], 1, 6))
        assert torch.allclose(single, batch[i : i + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_state_is_left_between_calls(name, gaussian, mixture, x1):
    noise = step_noise(range(len(x1)), 1, 6)
    sampler = build(name, 5)
    before = dict(vars(sampler))
    first = sampler(mixture, x1, noise=noise)
    sampler(gaussian, x1 + 1, noise=noise)
    assert torch.equal(sampler(mixture, x1, noise=noise), first)
    assert vars(sampler) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [1, 3, 5])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_network_reports_its_first_step(name, broken, value):
    calls = []

    def network(x_t, log_snr, cond):
        calls.append(1)
        return torch.full_like(x_t, value) if len(calls) == broken else 0.1 * x_t

    with pytest.raises(ValueError, match=f"step {broken} of 5"):
        build(name, 5)(Denoiser(network, Cosine(), V()), torch.ones(1, 1, 4), noise=step_noise([0], 1, 4))


@pytest.mark.parametrize("name", NAMES)
def test_network_calls_and_callbacks(name, gaussian, x1):
    asked, told = [], []
    schedule = gaussian.schedule

    class Counting:
        t_max = 1.0

        def __call__(self, x_t, t, cond=None):
            asked.append((t, cond))
            return gaussian(x_t, t)

    counting = Counting()
    counting.schedule = schedule
    sampler = build(name, 6)
    answer = sampler(
        counting, x1, "mel", step_noise(range(len(x1)), 1, 6), lambda step, nfe, x, x0_hat: told.append((step, nfe, x))
    )
    times = sampler.default_grid(schedule, 1.0).tolist()
    assert asked == [(t, "mel") for t in times[:-1]]
    assert [(step, nfe) for step, nfe, _ in told] == [(n, 6) for n in range(6)]
    assert told[-1][2] is answer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_walk_reads_no_tensor(name, objective):
    """On the meta device tensors have no values: any branch on one, or number read from one, raises."""
    x1 = torch.empty(2, 1, 8, device="meta")
    denoiser = Denoiser(lambda x_t, log_snr, cond: x_t * log_snr[:, None, None], Cosine(), objective())
    answer, finite = build(name, 4).walk(denoiser, x1, noise=lambda step: torch.empty_like(x1))
    assert answer.shape == x1.shape and answer.is_meta and finite.shape == (4,)


def test_gradients_flow_through_the_walk():
    scale = torch.tensor(0.5, requires_grad=True)
    denoiser = Denoiser(lambda x, log_snr, cond: scale * x, Cosine(), V())
    build("dpmpp_3m", 4)(denoiser, torch.ones(1, 1, 3)).sum().backward()
    assert torch.isfinite(scale.grad) and scale.grad != 0


def test_stochastic_samplers_ask_for_noise(gaussian, x1):
    assert [s.stochastic for s in STOCHASTIC] == [True, True, True, True, False]
    with pytest.raises(ValueError, match="noise"):
        Ancestral(4)(gaussian, x1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DDIM(0), "at least one"),
        (lambda: DDIM(3, grid=torch.tensor([1.0, 0.0])), "4 times, got 2"),
        (lambda: DDIM(3, grid=torch.tensor([1.0, 0.5, 0.5, 0.0])), "strictly"),
        (lambda: DDIM(3, grid=torch.tensor([1.0, 0.2, 0.5, 0.0])), "strictly"),
        (lambda: DDIM(3, eta=1.5), "eta"),
        (lambda: Ancestral(3, "medium"), "small or large"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_grid_above_t_max_is_refused(gaussian, x1):
    denoiser = Denoiser(gaussian.as_network(Epsilon()), LinearBeta(), Epsilon())
    with pytest.raises(ValueError, match="starts at 1"):
        DDIM(2, grid=torch.tensor([1.0, 0.5, 0.0]))(denoiser, x1)
