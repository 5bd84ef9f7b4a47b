import pytest
import torch

from audiodiff.diffusion.presets import NAMES, build, recommended
from audiodiff.diffusion.sampler import DDIM
from audiodiff.errors import UserError


def test_names_build():
    assert set(NAMES) >= {"ddpm", "ddim", "dpmpp_2m", "dpmpp_3m"}
    for name in NAMES:
        assert build(name, 5).nfe == 5
        assert build(name, 5).stochastic == (name == "ddpm")


def test_ddim_preset_is_ddim(mixture, x1):
    assert torch.allclose(build("ddim", 6)(mixture, x1), DDIM(6)(mixture, x1), rtol=0, atol=1e-13)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="ddpm, ddim, dpmpp_2m, dpmpp_3m"):
        build("euler", 5)


@pytest.mark.parametrize("make", [lambda: build("ddim", 0), lambda: recommended(0)])
def test_no_calls_are_refused(make):
    with pytest.raises(UserError, match="at least one"):
        make()


@pytest.mark.parametrize("nfe", [3, 4, 6, 8, 10, 20])
def test_recommended_is_the_most_accurate(nfe, gaussian, x1):
    exact = gaussian.flow(x1, 1.0, 0.0)
    errors = {
        name: float((build(name, nfe)(gaussian, x1) - exact).square().mean().sqrt()) for name in NAMES if name != "ddpm"
    }
    chosen = float((recommended(nfe)(gaussian, x1) - exact).square().mean().sqrt())
    assert chosen == min(errors.values())


@pytest.mark.parametrize("nfe", [1, 2])
def test_recommended_leaves_no_noise_at_one_or_two_calls(nfe, gaussian, x1):
    seen = []
    answer = recommended(nfe)(gaussian, x1, callback=lambda step, nfe, x, x0_hat: seen.append(x0_hat))
    assert torch.allclose(answer, seen[-1], atol=1e-14)
