"""Ancestral sampling and DDIM against scalar recursions and Bayes' rule."""

import math
from itertools import pairwise

import pytest
import torch

from audiodiff.diffusion.grids import grid
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM, Ancestral, first_order_step
from audiodiff.diffusion.schedules.adapted import ScaledInput
from audiodiff.diffusion.schedules.schedule import Cosine

STOCHASTIC = [Ancestral(7), Ancestral(7, "large"), DDIM(7, 1.0), DDIM(7, 0.5), DDIM(7)]


def _scalar(std, schedule=None):
    return GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.tensor([[std**2]], dtype=torch.float64), schedule or Cosine()
    )


def _output_variance(sampler, oracle):
    """Exact: a sampler is linear on a centered Gaussian, so its response to each unit input is a gain."""
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
        assert step.carry[0] == pytest.approx(ratio / transition / precision, rel=1e-12)
        assert step.weights[0] == pytest.approx(a / sg**2 / precision, rel=1e-12)


@pytest.mark.parametrize("sampler", STOCHASTIC[:1] + STOCHASTIC[2:])
def test_marginals_are_kept_on_any_grid(sampler, schedule):
    """With the true x0 in the estimate's place every x_s is alpha_s x0 + sigma_s noise again, for any times."""
    times = torch.tensor([1.0, 0.97, 0.6, 0.55, 0.3, 0.05, 0.01, 0.0], dtype=torch.float64)
    mean, variance = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)) ** 2
    for step, s in zip(sampler.steps(schedule, times), times[1:], strict=True):
        mean = step.carry[0] * mean + step.weights[0]
        variance = step.carry[0] ** 2 * variance + step.noise**2
        assert mean == pytest.approx(float(schedule.alpha(s)), abs=1e-14)
        assert variance == pytest.approx(float(schedule.sigma(s)) ** 2, abs=1e-14)


def test_ddim_with_eta_one_is_ancestral(schedule):
    times = grid.uniform_t(schedule, 9)
    pairs = zip(DDIM(9, 1.0).steps(schedule, times), Ancestral(9).steps(schedule, times), strict=True)
    for ddim, ancestral in pairs:
        assert ddim.carry == pytest.approx(ancestral.carry, abs=1e-14)
        assert ddim.weights == pytest.approx(ancestral.weights, abs=1e-14)
        assert ddim.noise == pytest.approx(ancestral.noise, abs=1e-14)


def test_stochastic_is_what_adds_noise(gaussian, x1):
    assert [s.stochastic for s in STOCHASTIC] == [True, True, True, True, False]


class _Learned:
    """A Gaussian's denoiser whose posterior has a given variance: the exact one makes ancestral sampling exact."""

    t_max = 1.0

    def __init__(self, std, exact):
        self.oracle, self.exact, self.schedule = _scalar(std), exact, Cosine()

    def __call__(self, x_t, t, cond=None):
        return self.oracle(x_t, t)

    def posterior(self, x_t, t, s, cond=None):
        start, stop = self.schedule.level(t), self.schedule.level(s)
        drop = 1 - math.exp(start.log_snr - stop.log_snr)
        mean = start.alpha * stop.sigma**2 / (stop.alpha * start.sigma**2) * x_t + stop.alpha * drop * self(x_t, t)
        if not self.exact:
            return mean, None
        variance = self.oracle.variances
        left = start.alpha**2 * variance + start.sigma**2
        uncertainty = variance * start.sigma**2 / left
        spread = stop.sigma**2 * drop + (stop.alpha * drop) ** 2 * uncertainty
        return mean, torch.log(spread).expand_as(x_t)


def test_the_true_variance_makes_every_step_exact():
    """Where log-variance is that of q(x_s | x_t), any number of steps ends with the data's own distribution."""
    sampler, oracle = Ancestral(5, "learned"), _Learned(0.5, exact=True)
    inputs = torch.eye(6, dtype=torch.float64)
    seen = []
    output = sampler(
        oracle,
        inputs[:, :1],
        noise=lambda step: inputs[:, step + 1 : step + 2],
        callback=lambda step, nfe, x, mean: seen.append((step, nfe)),
    )
    # The last step to t = 0 returns the mean, as in the paper: what it leaves out is its own uncertainty.
    level = Cosine().level(0.2)
    missing = 0.25 * level.sigma**2 / (0.25 * level.alpha**2 + level.sigma**2)
    assert float(output.square().sum()) == pytest.approx(0.25 - missing, rel=1e-10)
    assert seen == [(n, 5) for n in range(5)]


def test_learned_variance_too_ends_in_the_scale_of_the_data():
    class Point:
        schedule, t_max = ScaledInput(Cosine(), 0.5), 1.0

        def posterior(self, x_t, t, s, cond=None):
            return self.schedule.level(s).alpha * torch.full_like(x_t, 3.0), torch.zeros_like(x_t)

    x1 = torch.zeros(1, 1, 1, dtype=torch.float64)
    output = Ancestral(2, "learned")(Point(), x1, noise=lambda step: torch.ones_like(x1))
    assert float(output) == pytest.approx(3.0, rel=1e-14)


def test_a_step_of_order_one_adds_noise_only_with_eta():
    start, stop = Cosine().level(0.7), Cosine().level(0.4)
    assert first_order_step(start, stop).noise == 0
    assert first_order_step(start, stop).carry == pytest.approx([stop.sigma / start.sigma], rel=1e-15)


def test_learned_variance_needs_a_denoiser_that_has_it(gaussian, x1):
    for denoiser, x in ((gaussian, x1), (_Learned(0.5, exact=False), x1[..., :1])):
        with pytest.raises(ValueError, match="no learned variance"):
            Ancestral(3, "learned")(denoiser, x, noise=torch.zeros_like)
    with pytest.raises(ValueError, match="no table"):
        Ancestral(3, "learned").table(gaussian)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DDIM(3, eta=1.5), "eta lies in"),
        (lambda: DDIM(3, eta=-0.1), "eta lies in"),
        (lambda: Ancestral(3, "medium"), "small, large, learned"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
