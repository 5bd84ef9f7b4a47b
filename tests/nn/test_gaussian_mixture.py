"""Densities against torch's, and expectation maximization against what it promises."""

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from audiodiff.nn.gaussian_mixture import GaussianMixtures


def random_mixtures(seed: int = 0) -> GaussianMixtures:
    generator = torch.Generator().manual_seed(seed)
    mixtures = GaussianMixtures(3, 2, 4).requires_grad_(False)
    for parameter in (mixtures.mean, mixtures.log_variance):
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    mixtures.log_weight.copy_(torch.randn(3, 2, generator=generator).log_softmax(-1))
    return mixtures


def test_densities_are_those_of_torch():
    mixtures = random_mixtures()
    x = torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(1))
    normal = Independent(Normal(mixtures.mean, (0.5 * mixtures.log_variance).exp()), 1)
    expected = MixtureSameFamily(Categorical(logits=mixtures.log_weight), normal).log_prob(x[..., None, :])
    torch.testing.assert_close(mixtures(x), expected, rtol=1e-4, atol=1e-3)


def test_one_update_of_single_components_gives_mean_and_variance():
    mixtures = GaussianMixtures(2, 1, 3)
    x, states = torch.randn(400, 3, generator=torch.Generator().manual_seed(2)) * 2 + 1, torch.arange(400) % 2
    statistics = mixtures.new_statistics()
    for part in (slice(0, 100), slice(100, 400)):
        mixtures.accumulate(statistics, x[part], states[part])
    mixtures.update(statistics)
    for state in range(2):
        own = x[states == state]
        torch.testing.assert_close(mixtures.mean[state, 0].detach(), own.mean(0))
        torch.testing.assert_close(mixtures.log_variance[state, 0].exp().detach(), own.var(0, correction=0))


def test_the_likelihood_does_not_fall():
    mixtures = random_mixtures(3)
    generator = torch.Generator().manual_seed(4)
    x, states = torch.randn(900, 4, generator=generator), torch.randint(3, (900,), generator=generator)
    before = -torch.inf
    for _ in range(8):
        likelihood = float(mixtures(x).gather(1, states[:, None]).sum())
        assert likelihood > before - 1e-2
        before = likelihood
        statistics = mixtures.new_statistics()
        mixtures.accumulate(statistics, x, states)
        mixtures.update(statistics)


def test_a_state_without_observations_keeps_its_mixture():
    mixtures = random_mixtures()
    before = mixtures.mean[2].clone()
    statistics = mixtures.new_statistics()
    mixtures.accumulate(statistics, torch.randn(100, 4), torch.zeros(100, dtype=torch.long))
    mixtures.update(statistics)
    assert torch.equal(mixtures.mean[2], before) and mixtures.mean.isfinite().all()


def test_splitting_doubles_components_around_the_old_means():
    mixtures = random_mixtures()
    doubled = mixtures.split()
    assert doubled.components == 4
    torch.testing.assert_close(doubled.mean.unflatten(1, (2, 2)).mean(1), mixtures.mean)
    torch.testing.assert_close(doubled.log_weight.exp().sum(1), torch.ones(3))
