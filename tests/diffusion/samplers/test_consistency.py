"""Sampling of consistency functions."""

import pytest
import torch

from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.samplers.consistency import Consistency
from audiodiff.diffusion.samplers.presets import build
from audiodiff.diffusion.schedules.schedule import Cosine, VarianceExploding


class Exact:
    """The exact consistency function of a Gaussian."""

    def __init__(self, oracle):
        self.oracle, self.schedule, self.t_max = oracle, oracle.schedule, oracle.t_max

    def __call__(self, x_t, t, cond=None):
        return self.oracle.flow(x_t, t, 0.0)


@pytest.mark.parametrize("schedule", [Cosine(), VarianceExploding()], ids=["cosine", "ve"])
def test_a_row_carries_the_estimate_alone(schedule):
    sampler = build("consistency", 3)
    grid = sampler.grid_for(schedule)
    rows = sampler.steps(schedule, grid)
    for row, t, s in zip(rows, grid.tolist(), grid.tolist()[1:], strict=False):
        level = schedule.level(s)
        assert row == (t, (0.0,), (level.alpha,), (0.0, 1.0), level.sigma)
    assert rows[-1].noise == 0 and sampler.stochastic


def test_one_step_is_the_estimate_and_adds_no_noise(gaussian, x1):
    found = Consistency(1)(Exact(gaussian), x1, noise=lambda step: pytest.fail("noise"))
    assert torch.allclose(found, gaussian.flow(x1, 1.0, 0.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [2, 4])
def test_samples_of_an_exact_function_have_the_exact_distribution(steps, gaussian):
    """The estimate has the covariance of the data, so has what noise is added to, and so on: no error at any number."""
    clips = 40000
    generator = torch.Generator().manual_seed(0)
    x1 = torch.randn(clips, 1, 6, generator=generator, dtype=torch.float64)
    noise = [torch.randn(clips, 1, 6, generator=generator, dtype=torch.float64) for _ in range(steps)]
    samples = Consistency(steps)(Exact(gaussian), x1, noise=noise.__getitem__)[:, 0]
    assert torch.allclose(samples.mean(0), gaussian.mean, atol=0.03)
    assert torch.allclose(torch.cov(samples.T), gaussian.covariance, atol=0.03)


def test_the_noise_of_a_step_is_that_of_seed_and_step(gaussian):
    """A clip is the same alone and in a batch, and its second state is what the seed rule says."""
    seeds, seen = [3, 4], []
    x1, noise = batch_noise(seeds, 1, 6), step_noise(seeds, 1, 6)
    both = Consistency(2)(Exact(gaussian), x1, noise=noise, callback=lambda n, nfe, x, x0: seen.append((x, x0)))
    alone = Consistency(2)(Exact(gaussian), x1[1:], noise=step_noise(seeds[1:], 1, 6))
    assert torch.equal(both[1:], alone)
    level = Cosine().level(0.5)
    assert torch.allclose(seen[0][0], level.alpha * seen[0][1] + level.sigma * noise(0), rtol=0, atol=1e-6)
