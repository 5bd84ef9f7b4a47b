"""Langevin steps on Gaussians, where every chain's variance is a recursion and its stationary law is known."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.noise import step_noise
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM, Ancestral
from audiodiff.diffusion.samplers.langevin import AnnealedLangevin, PredictorCorrector, langevin_row
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, SubVP, VarianceExploding

SCHEDULES = [Cosine(), LinearBeta(), VarianceExploding(), SubVP()]
STDS = [0.1, 0.5, 2.0]


def _scalar(std, schedule):
    return GaussianOracle(torch.zeros(1), torch.tensor([[std**2]], dtype=torch.float64), schedule)


def _output_variance(sampler, oracle, times):
    """Exact: a sampler is linear on a centered Gaussian, so its response to each unit input is a gain."""
    inputs = torch.eye(sampler.nfe + 1, dtype=torch.float64)
    scale = float(oracle.schedule.scale(times[0]))
    output = sampler(oracle, scale * inputs[:, :1], noise=lambda step: inputs[:, step + 1 : step + 2])
    return float(output.square().sum())


def _langevin(variance, epsilon, alpha, sigma, std):
    """x + epsilon score + sqrt(2 epsilon) z, with the exact score of a Gaussian."""
    return (1 - epsilon / (alpha**2 * std**2 + sigma**2)) ** 2 * variance + 2 * epsilon


def _amplitudes(schedule, t):
    return float(schedule.alpha(t)), float(schedule.sigma(t))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("std", STDS)
def test_a_row_is_the_langevin_step(std, schedule):
    level = schedule.level(0.6)
    row = langevin_row(level, 0.3)
    gain = level.alpha * std**2 / (level.alpha**2 * std**2 + level.sigma**2)
    after = (row.carry[0] + row.weights[0] * gain) ** 2 * 1.7 + row.noise**2
    assert row.t == 0.6 and row.feature == (0.0, 1.0)
    assert after == pytest.approx(_langevin(1.7, 0.3 * level.sigma**2, level.alpha, level.sigma, std), rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.01])
@pytest.mark.parametrize("std", STDS)
def test_the_stationary_law_tends_to_the_truth(std, share):
    """Its variance exceeds the truth's by 1 / (1 - epsilon / (2 variance))."""
    level = Cosine().level(0.4)
    truth = level.alpha**2 * std**2 + level.sigma**2
    row = langevin_row(level, share)
    gain = row.carry[0] + row.weights[0] * level.alpha * std**2 / truth
    stationary = row.noise**2 / (1 - gain**2)
    assert stationary / truth == pytest.approx(1 / (1 - share * level.sigma**2 / (2 * truth)), rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("corrections, snr", [(1, 0.16), (3, 0.4)])
def test_fixed_corrector_is_the_recursion(corrections, snr, std, schedule):
    times = grid.uniform_t(schedule, 6, 0.9)
    variance = float(schedule.scale(times[0])) ** 2
    for t, s in pairwise(times):
        (at, st), (a, sg) = _amplitudes(schedule, t), _amplitudes(schedule, s)
        gain = at * std**2 / (at**2 * std**2 + st**2)
        # Ancestral sampling: the posterior's mean and variance, by precisions.
        transition = st**2 - (at / a) ** 2 * sg**2
        carry, added = at / a * sg**2 / st**2, sg**2 * transition / st**2
        variance = (carry + a * transition / st**2 * gain) ** 2 * variance + added
        for _ in range(corrections if s else 0):
            variance = _langevin(variance, 2 * snr**2 * sg**2, a, sg, std)
    sampler = PredictorCorrector(Ancestral(6, grid=times), corrections, snr, fixed=True)
    assert sampler.nfe == 6 + 5 * corrections
    assert _output_variance(sampler, _scalar(std, schedule), times) == pytest.approx(variance, rel=1e-10)


def _row_by_row(sampler, std, times):
    """Output variance of a table that looks back on nothing, from the table alone: cheap for long chains."""
    schedule, variance, gains = Cosine(), 1.0, {}
    for row in sampler.steps(schedule, times):
        if row.t not in gains:
            alpha, sigma = _amplitudes(schedule, row.t)
            gains[row.t] = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        variance = (row.carry[0] + row.weights[0] * gains[row.t]) ** 2 * variance + row.noise**2
    return variance


def test_correction_brings_the_covariance_nearer():
    """Ten steps of ancestral sampling leave too little variance; chains between them mend that, the longer the more."""
    times = grid.uniform_t(Cosine(), 10)
    samplers = [Ancestral(10), *(PredictorCorrector(Ancestral(10), n, 0.1, True) for n in (1, 10, 100, 4000))]
    found = [_row_by_row(sampler, 0.5, times) for sampler in samplers]
    assert found == sorted(found)
    # In the limit the state before the last call is exact, and that evaluation returns its conditional mean.
    alpha, sigma = _amplitudes(Cosine(), times[-2])
    assert found[-1] == pytest.approx(alpha**2 * 0.25**2 / (alpha**2 * 0.25 + sigma**2), rel=2e-3)


def _measured(denoiser, x, times, noise, corrections, snr):
    """Song et al. (arXiv 2011.13456), algorithms 4 and 5 without alpha_i, with DDIM for a predictor."""
    calls = 0
    schedule = denoiser.schedule
    for t, s in pairwise(times):
        (at, st), (a, sg) = _amplitudes(schedule, t), _amplitudes(schedule, s)
        x0 = denoiser(x, float(t))
        x, calls = a * x0 + sg * (x - at * x0) / st, calls + 1
        for _ in range(corrections if s else 0):
            score = (a * denoiser(x, float(s)) - x) / sg**2
            z = noise(calls).double()
            norms = [v.flatten(1).norm(dim=1)[:, None, None] for v in (z, score)]
            epsilon = 2 * (snr * norms[0] / norms[1]) ** 2
            x, calls = x + epsilon * score + torch.sqrt(2 * epsilon) * z, calls + 1
    return x


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("corrections, snr", [(1, 0.16), (2, 0.3)])
def test_measured_corrector_is_published(corrections, snr, schedule, mixture, x1):
    mixture.schedule = schedule
    times, noise = grid.uniform_t(schedule, 5, 0.95), step_noise(range(len(x1)), 1, 6)
    x1 = x1 * float(schedule.scale(times[0]))
    given = []
    sampler = PredictorCorrector(DDIM(5, grid=times), corrections, snr)
    output = sampler(mixture, x1, noise=noise, callback=lambda n, nfe, x, x0: given.append((n, nfe, x)))
    expected = _measured(mixture, x1, times, noise, corrections, snr)
    assert torch.allclose(output, expected, rtol=0, atol=1e-12 * float(schedule.scale(times[0])))
    assert [(n, nfe) for n, nfe, _ in given] == [(n, sampler.nfe) for n in range(5 + 4 * corrections)]
    assert given[-1][2] is output


def test_measured_steps_have_the_fixed_length_on_pure_noise():
    """Where |score| = |z| / sigma, as on pure noise of many samples, measured and fixed steps are the same."""
    oracle = _scalar(1.0, VarianceExploding())
    times = torch.tensor([1.0, 0.9, 0.0], dtype=torch.float64)
    x1 = 50 * torch.randn(20000, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    oracle = GaussianOracle(torch.zeros(20000), torch.zeros(1, 1), VarianceExploding())
    oracle.posterior_mean = lambda x_t, alpha, sigma: 0 * x_t
    x1 = x1.reshape(1, 1, -1)
    noise = step_noise([0], 1, 20000)
    given = []
    for fixed in (False, True):
        PredictorCorrector(DDIM(2, grid=times), 1, 0.2, fixed)(
            oracle, x1, noise=noise, callback=lambda n, nfe, x, x0: given.append(x)
        )
    assert torch.allclose(given[1], given[4], rtol=0, atol=0.02 * float(given[1].std()))


def test_padding_does_not_count(mixture, x1):
    """A clip padded behind its samples is corrected as it is alone."""

    class Padded:
        schedule, t_max = mixture.schedule, 1.0

        def __call__(self, x_t, t, cond=None):
            return torch.cat([mixture(x_t[..., :6], t), 0 * x_t[..., 6:]], -1)

    noise = step_noise(range(32), 1, 10)
    sampler = PredictorCorrector(Ancestral(5), 2)
    alone = sampler(mixture, x1, noise=lambda n: noise(n)[..., :6])
    padded = torch.cat([x1, torch.randn(32, 1, 4, dtype=torch.float64)], -1)
    cond = SimpleNamespace(samples=torch.full((32,), 6))
    assert torch.allclose(sampler(Padded(), padded, cond, noise)[..., :6], alone, rtol=0, atol=1e-12)
    assert not torch.allclose(sampler(Padded(), padded, None, noise)[..., :6], alone, rtol=0, atol=1e-3)


def test_corrections_follow_every_step_but_the_last():
    times = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    sampler = PredictorCorrector(DDIM(2, grid=times), 3, fixed=True)
    assert [row.t for row in sampler.steps(Cosine(), times)] == [0.9, 0.5, 0.5, 0.5, 0.5]
    assert sampler.nfe == 5 and sampler.intervals == 2 and torch.equal(sampler.grid, times)
    assert torch.equal(
        PredictorCorrector(Multistep(7, 1)).default_grid(Cosine(), 0.9), Multistep(7, 1).default_grid(Cosine(), 0.9)
    )
    single = PredictorCorrector(DDIM(1))
    assert single.nfe == 1 and not single.stochastic and len(single.steps(Cosine(), times[[0, 2]])) == 1
    assert sampler.stochastic and PredictorCorrector(Ancestral(1)).stochastic


def _ncsn(schedule, times, repeats, k, std):
    """Song and Ermon (arXiv 1907.05600), algorithm 1, on x / alpha: the variance of one Gaussian variable."""
    levels = [s / a for a, s in (_amplitudes(schedule, t) for t in times[:-1])]
    smallest = levels[-1]
    epsilon = k * smallest**2
    variance = 1 / _amplitudes(schedule, times[0])[0] ** 2 * float(schedule.scale(times[0])) ** 2
    for level in levels:
        step = epsilon * level**2 / smallest**2
        for _ in range(repeats):
            variance = (1 - step / 2 / (std**2 + level**2)) ** 2 * variance + step
    return variance * (std**2 / (std**2 + smallest**2)) ** 2  # the mean of x0 ends it


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("repeats, step", [(1, 0.2), (4, 0.7)])
def test_annealed_langevin_is_published(repeats, step, std, schedule):
    sampler = AnnealedLangevin(8 * repeats + 1, repeats, step)
    times = sampler.default_grid(schedule, 1.0)
    expected = _ncsn(schedule, times, repeats, step, std)
    assert _output_variance(sampler, _scalar(std, schedule), times) == pytest.approx(expected, rel=1e-10)


def test_annealed_langevin_tends_to_the_truth():
    """Within its bias of a tenth of the step as chains grow: what a chain leaves of the level before fades."""
    excess = []
    for levels, repeats in ((6, 10), (24, 40), (24, 1600)):
        sampler = AnnealedLangevin(levels * repeats + 1, repeats, 0.05)
        excess.append(_row_by_row(sampler, 0.5, sampler.default_grid(Cosine(), 1.0)) / 0.25 - 1)
    assert excess[0] > excess[1] > excess[2] > 0 and excess[2] < 0.06


def test_annealed_langevin_from_pure_noise():
    """At alpha = 0 the chain keeps N(0, scale^2), and x_t / scale is kept on the way to the next level."""
    times = torch.tensor([1.0, 0.9, 0.5, 0.0], dtype=torch.float64)
    rows = AnnealedLangevin(7, 2, grid=times).steps(Cosine(), times)
    assert [row.t for row in rows] == [1.0, 1.0, 0.9, 0.9, 0.5, 0.5, 0.5]
    for row in rows[:2]:
        assert row.carry == pytest.approx((0.9,)) and row.noise == pytest.approx(math.sqrt(0.2))
    gain = math.cos(0.25 * math.pi) / math.cos(0.45 * math.pi)
    assert rows[3].carry[0] == pytest.approx(gain * rows[2].carry[0], rel=1e-12)
    assert rows[4] == rows[5] and rows[6].carry == (0.0,) and rows[6].weights == (1.0,)
    scaled = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    row = AnnealedLangevin(2, 1, grid=scaled[[0, 1]]).steps(Cosine(), scaled[[0, 1]])[0]
    assert row.carry == pytest.approx((0.9,))


@pytest.mark.parametrize("nfe, repeats, times", [(6, 2, [1, 2, 2, 3, 3]), (7, 2, [1, 1, 2, 2, 3, 3]), (2, 5, [1])])
def test_every_call_is_spent(nfe, repeats, times):
    sampler = AnnealedLangevin(nfe, repeats)
    levels = sampler.default_grid(Cosine(), 1.0)
    rows = sampler.steps(Cosine(), levels)
    assert [row.t for row in rows] == [float(levels[n - 1]) for n in times] + [float(levels[-2])]
    assert len(rows) == nfe and levels[-1] == 0


def test_annealed_grid_and_first_call():
    schedule = Cosine()
    assert torch.equal(AnnealedLangevin(9).default_grid(schedule, 1.0), grid.uniform_log_snr(schedule, 8))
    late = AnnealedLangevin(9).default_grid(schedule, 0.5)
    assert float(late[0]) == pytest.approx(0.5, abs=1e-12)
    single = AnnealedLangevin(1)
    assert single.intervals == 1 and not single.stochastic and AnnealedLangevin(2).stochastic
    assert len(single.steps(schedule, torch.tensor([0.9, 0.0], dtype=torch.float64))) == 1


@pytest.mark.parametrize(
    "make", [lambda: PredictorCorrector(Ancestral(4), 2), lambda: AnnealedLangevin(7, 2)], ids=["corrector", "annealed"]
)
def test_batch_is_singles(make, mixture, x1):
    sampler = make()
    batch = sampler(mixture, x1[:6], noise=step_noise(range(6), 1, 6))
    for i in range(6):
        single = sampler(mixture, x1[i : i + 1], noise=step_noise([i], 1, 6))
        assert torch.allclose(single, batch[i : i + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", [PredictorCorrector(Ancestral(4), 2), AnnealedLangevin(7, 2)])
def test_the_state_is_float32_and_noise_is_used(sampler, mixture, x1):
    output = sampler(mixture, x1.float(), noise=step_noise(range(len(x1)), 1, 6))
    assert output.dtype == torch.float32
    with pytest.raises(ValueError, match="noise"):
        sampler(mixture, x1)


@pytest.mark.parametrize("broken", [1, 3, 6])
def test_a_broken_network_reports_its_first_step(broken, mixture, x1):
    calls = []

    class Broken:
        schedule, t_max = mixture.schedule, 1.0

        def __call__(self, x_t, t, cond=None):
            calls.append(t)
            return mixture(x_t, t) * (math.nan if len(calls) == broken else 1)

    with pytest.raises(ValueError, match=f"step {broken} of 7"):
        PredictorCorrector(Ancestral(4))(Broken(), x1, noise=step_noise(range(len(x1)), 1, 6))


class _TwoStates(DDIM):
    """Leaves each time from the state before the last."""

    def steps(self, schedule, grid):
        return [row._replace(carry=(0.0, *row.carry)) for row in super().steps(schedule, grid)]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PredictorCorrector(DDIM(3), 0), "at least one step"),
        (lambda: PredictorCorrector(DDIM(3), 1, 0.0), "snr"),
        (lambda: PredictorCorrector(DDIM(3), 1, math.inf), "snr"),
        (lambda: PredictorCorrector(DDIM(3), 1, 0.71, fixed=True), "snr"),
        (lambda: PredictorCorrector(Multistep(4, 2)).steps(Cosine(), grid.uniform_t(Cosine(), 4)), "order 1"),
        (lambda: PredictorCorrector(_TwoStates(4)).steps(Cosine(), grid.uniform_t(Cosine(), 4)), "order 1"),
        (lambda: AnnealedLangevin(3, 0), "at least one step"),
        (lambda: AnnealedLangevin(3, 1, 0.0), "between 0 and 2"),
        (lambda: AnnealedLangevin(3, 1, 2.0), "between 0 and 2"),
        (lambda: AnnealedLangevin(0), "nfe >= 1"),
        (lambda: AnnealedLangevin(5, 2, grid=torch.tensor([0.9, 0.0])), "3 times, got 2"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_are_attributes_with_the_published_defaults():
    predictor = DDIM(3)
    sampler = PredictorCorrector(predictor)
    assert (sampler.predictor, sampler.corrections, sampler.snr, sampler.fixed) == (predictor, 1, 0.16, False)
    assert (AnnealedLangevin(3).repeats, AnnealedLangevin(3).step) == (1, 0.2)
    PredictorCorrector(DDIM(3), 1, 0.7, fixed=True)
    PredictorCorrector(DDIM(3), 1, 0.9)
