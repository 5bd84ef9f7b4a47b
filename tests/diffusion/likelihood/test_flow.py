import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.likelihood.flow import bits_per_dimension, dequantize, log_angle, log_likelihood, time_at
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.objective import Epsilon, V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, SubVP, VarianceExploding

SCHEDULES = [Cosine(), LinearBeta(), SubVP(), VarianceExploding(), RectifiedFlow()]


class Counted:
    """A denoiser that records its times."""

    def __init__(self, denoiser):
        self.denoiser, self.schedule, self.t_max = denoiser, denoiser.schedule, denoiser.t_max
        self.times = []

    def __call__(self, x_t, t, cond=None):
        self.times.append(t)
        return self.denoiser(x_t, t, cond)


def _bits(first, second):
    return float((first - second).abs().max()) / 6 / math.log(2)


def _draws(oracle, generator, count=8):
    return oracle.sample(count, generator)[:, None]


def _model_density(oracle, x0, log_snr):
    """log density of what the ODE makes of the prior, with the noise of log_snr left in it, for a Gaussian oracle."""
    start = oracle.schedule.level(oracle.t_max)
    t = float(oracle.schedule.t_from_log_snr(log_snr))
    images = oracle.flow(torch.cat([torch.zeros(1, 6), start.scale * torch.eye(6)]).double(), oracle.t_max, t)
    images = images / oracle.schedule.level(t).alpha
    linear = images[1:] - images[0]
    return MultivariateNormal(images[0], linear.T @ linear).log_prob(x0[:, 0])


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_exact_trace_is_the_density(kind, generator, request):
    oracle = Counted(request.getfixturevalue(kind))
    x0 = _draws(oracle.denoiser, generator)
    found = log_likelihood(oracle, x0)
    assert found.shape == (8,) and found.dtype == torch.float64
    assert _bits(found, oracle.denoiser.log_density(x0[:, 0])) < 2e-7
    assert len(oracle.times) < 350
    finer = log_likelihood(oracle, x0, tolerance=1e-10, log_snr_max=27.0)
    assert _bits(finer, oracle.denoiser.log_density(x0[:, 0])) < 1e-9


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("log_snr", [24.0, 0.7])
def test_density_of_the_model_on_any_schedule(schedule, log_snr, gaussian, generator):
    """The prior counts, also where it is not that of the data: the model is what the samplers sample."""
    oracle = GaussianOracle(gaussian.mean, gaussian.covariance, schedule)
    x0 = _draws(oracle, generator)
    assert _bits(log_likelihood(oracle, x0, log_snr_max=log_snr), _model_density(oracle, x0, log_snr)) < 5e-7


def test_noise_left_in_the_data_is_part_of_the_density(mixture, generator):
    x0 = _draws(mixture, generator)
    found = log_likelihood(mixture, x0, log_snr_max=2 * math.log(2.0))
    assert _bits(found, mixture.log_density(x0[:, 0], 1.0, 0.5)) < 5e-7


def test_bias_of_the_noise_left(gaussian, generator):
    """(d^2 - 1) exp(-log_snr_max) / (2 v) nats for each mode."""
    x0 = _draws(gaussian, generator)
    squares = ((x0[:, 0] - gaussian.mean) @ gaussian.modes).square() / gaussian.variances
    bias = ((squares - 1) / (2 * gaussian.variances)).sum(1) * math.exp(-12)
    found = log_likelihood(gaussian, x0, log_snr_max=12.0, tolerance=1e-10)
    assert torch.allclose(found - gaussian.log_density(x0[:, 0]), bias, rtol=2e-3, atol=1e-8)


def test_integration_goes_from_the_data_to_t_max(gaussian, generator):
    for schedule in (Cosine(), LinearBeta()):
        oracle = Counted(GaussianOracle(gaussian.mean, gaussian.covariance, schedule))
        log_likelihood(oracle, _draws(gaussian, generator), tolerance=1e-3)
        assert schedule.level(min(oracle.times)).log_snr == pytest.approx(24.0, abs=1e-9)
        assert max(oracle.times) == 1.0
    learned = LearnedSchedule(log_snr_max=9.0)
    oracle = Counted(GaussianOracle(gaussian.mean, gaussian.covariance, learned))
    log_likelihood(oracle, _draws(gaussian, generator), tolerance=1e-3)
    assert min(oracle.times) == pytest.approx(0.0, abs=1e-9) and min(oracle.times) >= 0


def test_a_network_that_cannot_start_at_pure_noise(gaussian, generator):
    """From log_snr = -10 the prior is short of the data's mean there: alpha^2 mean^2 / 2 nats at most."""
    denoiser = Denoiser(gaussian.as_network(Epsilon()), Cosine(), Epsilon())
    x0 = _draws(gaussian, generator)
    assert _bits(log_likelihood(denoiser, x0), gaussian.log_density(x0[:, 0])) < 0.02


@pytest.mark.parametrize("probes", [1, 3])
def test_signs_are_exact_on_a_diagonal_jacobian(probes, gaussian, generator):
    oracle = GaussianOracle(gaussian.mean, torch.diag(gaussian.variances), Cosine())
    x0 = _draws(oracle, generator)
    noise = step_noise(range(8), 1, 6)
    assert _bits(log_likelihood(oracle, x0, noise=noise, probes=probes), oracle.log_density(x0[:, 0])) < 5e-7


def test_hutchinson_is_unbiased(mixture, generator):
    x0 = _draws(mixture, generator, 1).expand(400, 1, 6)
    exact = mixture.log_density(x0[:1, 0])
    spreads = []
    for probes in (1, 4):
        found = log_likelihood(mixture, x0, noise=step_noise(range(400), 1, 6), probes=probes, tolerance=1e-5)
        spreads.append(float(found.std()))
        assert abs(float(found.mean() - exact)) < 4 * spreads[-1] / math.sqrt(400)
    assert spreads[0] > 0.1
    assert spreads[0] / spreads[1] == pytest.approx(2, rel=0.2)


def test_one_probe_by_default(mixture, generator):
    x0, drawn = _draws(mixture, generator), []

    def noise(probe):
        drawn.append(probe)
        return step_noise(range(8), 1, 6)(probe)

    log_likelihood(mixture, x0, noise=noise, tolerance=1e-2)
    assert drawn == [0]


def test_probes_of_a_clip_are_its_own(gaussian, generator):
    """A batch equals singles within the tolerance of the steps that it shares."""
    x0 = _draws(gaussian, generator, 4)
    batch = log_likelihood(gaussian, x0, noise=step_noise(range(4), 1, 6))
    singles = [log_likelihood(gaussian, x0[n : n + 1], noise=step_noise([n], 1, 6)) for n in range(4)]
    assert _bits(batch, torch.cat(singles)) < 1e-6


def test_float32(mixture, generator):
    oracle = Counted(mixture)
    x0 = _draws(mixture, generator).float()
    found = log_likelihood(oracle, x0)
    assert found.dtype == torch.float64
    assert _bits(found, mixture.log_density(x0[:, 0].double())) < 1e-4
    assert len(oracle.times) < 300


def test_tolerance_by_default(mixture, generator):
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-5)):
        x0, noise = _draws(mixture, generator, 1).to(dtype), step_noise([1], 1, 6)
        expected = log_likelihood(mixture, x0, noise=noise, tolerance=tolerance)
        assert torch.equal(log_likelihood(mixture, x0, noise=noise), expected)


def test_channels_and_condition(gaussian, generator):
    def conditional(x_t, t, cond):
        return gaussian(x_t - gaussian.schedule.level(t).alpha * cond[:, None, None], t) + cond[:, None, None]

    denoiser = Counted(gaussian)
    denoiser.denoiser = conditional
    x0 = _draws(gaussian, generator, 4)
    shift = torch.tensor([0.0, 1.0, -2.0, 0.5], dtype=torch.float64)
    shifted = (x0 + shift[:, None, None]).reshape(4, 2, 3)
    assert _bits(log_likelihood(denoiser, shifted, shift), gaussian.log_density(x0[:, 0])) < 5e-7


def test_callers_that_record_nothing(mixture, generator):
    x0 = _draws(mixture, generator, 2)
    shift = torch.zeros(2, dtype=torch.float64)
    denoiser = Counted(mixture)
    denoiser.denoiser = lambda x_t, t, cond: mixture(x_t * torch.cos(cond)[:, None, None], t)
    expected = log_likelihood(denoiser, x0, shift, tolerance=1e-2)
    noise = step_noise(range(2), 1, 6)
    estimate = log_likelihood(denoiser, x0, shift, noise, tolerance=1e-2)
    with torch.inference_mode():
        copies = x0.clone(), shift.clone()
        assert torch.equal(log_likelihood(denoiser, *copies, tolerance=1e-2), expected)
        drawn = [noise(0).clone()]
        assert torch.equal(log_likelihood(denoiser, *copies, drawn.__getitem__, tolerance=1e-2), estimate)
    assert not log_likelihood(denoiser, x0.clone().requires_grad_(), shift, tolerance=1e-2).requires_grad


def test_bad_input(gaussian, generator):
    x0 = _draws(gaussian, generator)
    with pytest.raises(ValueError, match="one probe"):
        log_likelihood(gaussian, x0, probes=0)
    with pytest.raises(ValueError, match="condition has 3 clips"):
        log_likelihood(gaussian, x0, torch.zeros(3))
    linear = GaussianOracle(gaussian.mean, gaussian.covariance, LinearBeta(0.1, 5.0))
    lowest = linear.schedule.level(1.0).log_snr
    with pytest.raises(ValueError, match="log_snr_max must be above"):
        log_likelihood(linear, x0, log_snr_max=lowest)
    log_likelihood(linear, x0, log_snr_max=lowest + 0.1)


def test_estimates_that_are_not_finite(gaussian, generator):
    x0 = _draws(gaussian, generator)
    broken = Denoiser(lambda x_t, log_snr, cond: x_t * math.nan, Cosine(), V())
    with pytest.raises(ValueError, match="NaN or infinity"):
        log_likelihood(broken, x0)


@pytest.mark.parametrize("roughness, message", [(1.0, "in 3000 evaluations"), (1e12, "step size")])
def test_estimates_too_rough_to_solve(roughness, message, gaussian, generator):
    rough = Counted(gaussian)
    rough.denoiser = lambda x_t, t, cond: 0.5 * x_t + roughness * torch.rand(1, generator=generator)
    x0 = torch.ones(1, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"not solved .*{message}"):
        log_likelihood(rough, x0)
    if roughness == 1:
        assert len(rough.times) == 3000
        with pytest.raises(ValueError, match="in 30 evaluations"):
            log_likelihood(rough, x0, max_nfe=30)


@settings(max_examples=50, deadline=None)
@given(st.floats(-30, 30))
def test_coordinate_is_the_logarithm_of_half_the_angle(log_snr):
    angle = math.atan(math.exp(-log_snr / 2))
    assert log_angle(log_snr) == pytest.approx(math.log(math.tan(angle / 2)), rel=1e-9)
    assert time_at(Cosine(), log_angle(log_snr)) == pytest.approx(angle * 2 / math.pi, rel=1e-9)


def test_coordinate_ends_at_pure_noise():
    assert log_angle(-math.inf) == 0
    assert 1 - 1e-12 < time_at(LinearBeta(), log_angle(-20.0)) <= 1
    learned = LearnedSchedule(log_snr_max=9.0)
    assert time_at(learned, log_angle(9.0 + 1e-9)) == pytest.approx(0.0, abs=1e-9)


def test_bits_of_known_densities():
    """A density that is even over the range takes 0 bits; with levels it takes their logarithm."""
    even = torch.tensor([-8 * math.log(2.0)], dtype=torch.float64)
    assert bits_per_dimension(even, 8, data_range=2.0).tolist() == pytest.approx([0.0], abs=1e-15)
    assert bits_per_dimension(even, 8, data_range=2.0, levels=65536).tolist() == pytest.approx([16.0])
    normal = -0.5 * 100 * math.log(2 * math.pi * math.e)
    assert float(bits_per_dimension(torch.tensor(normal), 100, 1.0)) == pytest.approx(2.0471, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_bits_and_the_scale_of_the_data(factor, nats):
    """c x0 has the density p / c^D: log2(c) bits more at the same range, as many at the range times c."""
    density = torch.tensor([nats], dtype=torch.float64)
    scaled = density - 10 * math.log(factor)
    before = bits_per_dimension(density, 10, 2.0)
    assert float(bits_per_dimension(scaled, 10, 2.0) - before) == pytest.approx(math.log2(factor), abs=1e-9)
    assert float(bits_per_dimension(scaled, 10, 2.0 * factor) - before) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("arguments", [(0, 2.0, None), (8, 0.0, None), (8, -1.0, 4), (8, 2.0, 0), (8, math.nan, None)])
def test_bits_of_bad_units(arguments):
    with pytest.raises(ValueError, match="positive"):
        bits_per_dimension(torch.zeros(1), *arguments)
    bits_per_dimension(torch.zeros(1), 1, 1e-3, 1)


def test_dequantized_values_fill_their_cells():
    noise = batch_noise([1, 2], 1, 20000).double()
    x0 = torch.full_like(noise, 0.25).float()
    spread = dequantize(x0, noise, data_range=2.0, levels=16)
    assert spread.dtype == torch.float32
    offset = (spread - 0.25) / 0.125
    assert float(offset.min()) > -0.5 and float(offset.max()) < 0.5
    assert float(offset.mean()) == pytest.approx(0, abs=4 / math.sqrt(12 * 40000))
    assert float(offset.std()) == pytest.approx(1 / math.sqrt(12), rel=0.01)
    known = dequantize(torch.zeros(3), torch.tensor([0.0, -40.0, 40.0]), 2.0, 65536)
    assert known.tolist() == pytest.approx([0, -1 / 65536, 1 / 65536])
