"""Editing: what is known is kept exactly, and a start near a signal stays near it."""

import pytest
import torch

from audiodiff.diffusion.editing import Inpainting, Projection, SDEdit
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import Cosine

FRAMES = 24


def oracle(correlation: float = 0.9) -> GaussianOracle:
    lags = (torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)).abs()
    return GaussianOracle(torch.zeros(FRAMES), correlation ** lags.double(), Cosine())


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, FRAMES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "ddpm"])
def test_what_is_known_is_kept(sampler):
    known, mask = noise(3, 1), torch.zeros(FRAMES, dtype=torch.float64)
    mask[:10] = 1
    result = presets.build(sampler, 8)(
        Inpainting(oracle(), known, mask), noise(3), noise=lambda step: noise(3, 10 + step)
    )
    torch.testing.assert_close(result[..., :10], known[..., :10], rtol=0, atol=1e-9)
    assert not torch.allclose(result[..., 10:], known[..., 10:], atol=0.1)


@pytest.mark.parametrize(("correlation", "weight", "least", "most"), [(0.9, 0.5, 0.8, 0.95), (0.5, 1.0, 0.45, 0.6)])
def test_the_rest_fits_what_is_known(correlation, weight, least, most):
    """The first sampled frame correlates with the last known one nearly as in the data, without the gradient less."""
    mask = torch.zeros(FRAMES, dtype=torch.float64)
    mask[:12] = 1
    known = presets.build("ddim", 60)(oracle(correlation), noise(2000, 1))
    found = []
    for given in (weight, 0.0):
        result = presets.build("ddim", 20)(Inpainting(oracle(correlation), known, mask, given), noise(2000))[:, 0]
        found.append(float(torch.corrcoef(result[:, 11:13].T)[0, 1]))
        assert 0.6 < float(result[:, 12:].var()) < 1.4
    assert least < found[0] < most and found[1] < found[0] - 0.2


def rotation() -> torch.Tensor:
    """An orthogonal matrix."""
    return torch.linalg.qr(torch.randn(FRAMES, FRAMES, generator=torch.Generator().manual_seed(5)).double())[0]


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_projection_in_a_rotated_domain_is_a_mask_there(weight):
    """With x = R z and the data's covariance rotated, what is sampled is the rotation of what a mask gives."""
    turn, known = rotation(), noise(3, 1)
    mask = (torch.arange(FRAMES) < 10).double()
    plain, covariance = oracle(), oracle().covariance
    turned = GaussianOracle(torch.zeros(FRAMES), turn @ covariance @ turn.T, Cosine())
    projection = Projection(lambda x: (mask * (x @ turn)) @ turn.T, FRAMES - 10)
    expected = presets.build("ddim", 8)(Inpainting(plain, known, mask, weight), noise(3))
    found = presets.build("ddim", 8)(Inpainting(turned, known @ turn.T, projection, weight), noise(3) @ turn.T)
    torch.testing.assert_close(found, expected @ turn.T, rtol=0, atol=1e-8)


def test_an_oblique_projection_keeps_its_known_part():
    """W P W^-1 of a filter W that is not orthogonal: what is known of W^-1 x stays."""
    lags = torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)
    whiten = torch.where(lags >= 0, 0.6 ** lags.clamp(min=0).double(), 0.0)
    color = torch.linalg.inv(whiten)
    mask = (torch.arange(FRAMES) < 10).double()
    projection = Projection(lambda z: (mask * (z @ color.T)) @ whiten.T, FRAMES - 10)
    known = noise(3, 1)
    result = presets.build("ddim", 8)(Inpainting(oracle(), known, projection), noise(3))
    torch.testing.assert_close((result @ color.T)[..., :10], (known @ color.T)[..., :10], rtol=0, atol=1e-9)
    assert not torch.allclose(result[..., 10:], known[..., 10:], atol=0.1)


def test_the_later_the_start_the_nearer_to_what_was_given():
    given = presets.build("ddim", 60)(oracle(), noise(200, 1))
    distances = []
    for t in (0.1, 0.4, 0.7, 1.0):
        restarted = SDEdit(oracle(), t)
        result = presets.build("ddim", 30)(restarted, restarted.add_noise(given, noise(200)))
        assert float(result.var()) == pytest.approx(1.0, abs=0.15)
        distances.append(float((result - given).square().mean()))
    assert distances == sorted(distances) and distances[0] < 0.1 and distances[-1] > 1.5


@pytest.mark.parametrize("t", [0.0, -0.1, 1.1])
def test_no_start(t):
    with pytest.raises(ValueError, match="t_max must lie above 0"):
        SDEdit(oracle(), t)
