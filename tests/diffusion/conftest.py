import pytest
import torch

from audiodiff.diffusion.oracle import GaussianOracle, MixtureOracle
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta

DIMENSIONS = 6


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture(params=[Cosine(), LinearBeta()], ids=["cosine", "linear_beta"])
def schedule(request):
    return request.param


def _covariance(generator, low=0.6, high=1.2):
    rotation = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator, dtype=torch.float64))[0]
    return rotation @ torch.diag(torch.linspace(low, high, DIMENSIONS, dtype=torch.float64) ** 2) @ rotation.T


@pytest.fixture
def gaussian(generator):
    mean = torch.randn(DIMENSIONS, generator=generator, dtype=torch.float64)
    return GaussianOracle(mean, _covariance(generator), Cosine())


@pytest.fixture
def mixture(generator):
    means = torch.randn(2, DIMENSIONS, generator=generator, dtype=torch.float64)
    covariances = torch.stack([_covariance(generator, 0.4), _covariance(generator)])
    return MixtureOracle(torch.tensor([0.35, 0.65], dtype=torch.float64), means, covariances, Cosine())


@pytest.fixture
def x1(generator):
    """(32, 1, 6) starting noise in float64."""
    return torch.randn(32, 1, DIMENSIONS, generator=generator, dtype=torch.float64)
