import pytest
import torch

from audiodiff.diffusion.noise import step_noise
from audiodiff.diffusion.samplers.ancestral import DDIM, Ancestral
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.samplers.presets import NAMES, PRESETS, build, recommended
from audiodiff.errors import UserError

NOISY = {"consistency", "ddpm", "ddpm_large", "ddpm_learned", "dpmpp_2m_sde", "dpmpp_3m_sde"}
# name: order, predict, coordinate, corrector, eta, pseudo
FAMILY = {
    "ddim": (1, "x0", None, False, 0, False),
    "plms": (4, "epsilon", "t", False, 0, True),
    "deis_2": (2, "epsilon", "t", False, 0, False),
    "deis_3": (3, "epsilon", "t", False, 0, False),
    "dpm_2m": (2, "epsilon", None, False, 0, False),
    "dpm_3m": (3, "epsilon", None, False, 0, False),
    "dpmpp_2m": (2, "x0", None, False, 0, False),
    "dpmpp_3m": (3, "x0", None, False, 0, False),
    "dpmpp_2m_sde": (2, "x0", None, False, 1, False),
    "dpmpp_3m_sde": (3, "x0", None, False, 1, False),
    "unipc_2": (2, "x0", None, True, 0, False),
    "unipc_3": (3, "x0", None, True, 0, False),
    "v_3m": (3, "v", None, False, 0, False),
    "v_2m_pc": (2, "v", None, True, 0, False),
    "v_3m_pc": (3, "v", None, True, 0, False),
    "v_4m_pc": (4, "v", None, True, 0, False),
}


def test_members_of_the_family():
    for name, choices in FAMILY.items():
        sampler = build(name, 6)
        assert isinstance(sampler, Multistep)
        found = (
            sampler.order,
            sampler.predict,
            sampler.coordinate,
            sampler.corrector,
            sampler.eta,
            sampler.pseudo,
        )
        assert found == choices and PRESETS[name].min_nfe == sampler.order
    assert [build(name, 6).variance for name in ("ddpm", "ddpm_large", "ddpm_learned")] == ["small", "large", "learned"]
    assert isinstance(build("ddpm", 6), Ancestral) and PRESETS["ddpm"].min_nfe == 1


@pytest.mark.parametrize("name", NAMES)
def test_names_build(name):
    for nfe in (PRESETS[name].min_nfe, 7, 50):
        assert build(name, nfe).nfe == nfe
    assert build(name, 5).stochastic == (name in NOISY)


def test_ddim_preset_is_ddim(mixture, x1):
    assert torch.allclose(build("ddim", 6)(mixture, x1), DDIM(6)(mixture, x1), rtol=0, atol=1e-13)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="ddpm, ddpm_large, ddpm_learned, ddim"):
        build("euler", 5)


@pytest.mark.parametrize("make", [lambda: build("ddim", 0), lambda: recommended(0), lambda: recommended(-1)])
def test_no_steps_are_refused(make):
    with pytest.raises(UserError, match=r"steps (0|-1): is below 1"):
        make()


def test_fewer_steps_than_the_order_are_refused():
    with pytest.raises(UserError, match="dpmpp_3m needs at least 3"):
        build("dpmpp_3m", 2)


def test_recommended_by_budget():
    """What bench/solvers.py chooses."""
    chosen = {
        1: (1, "x0"),
        2: (1, "x0"),
        3: (3, "v"),
        5: (3, "v"),
        6: (2, "v"),
        10: (2, "v"),
        11: (3, "v"),
        29: (3, "v"),
        30: (4, "v"),
    }
    for nfe, (order, predict) in chosen.items():
        sampler = recommended(nfe)
        assert (sampler.nfe, sampler.order, sampler.predict, sampler.corrector) == (nfe, order, predict, nfe >= 6)


@pytest.mark.parametrize("nfe", [3, 4, 6, 8, 10, 20])
def test_recommended_is_far_more_accurate_than_what_is_common(nfe, mixture, x1):
    exact = build("v_3m_pc", 400)(mixture, x1)

    def error(sampler):
        noise = step_noise(range(len(x1)), 1, 6)
        return float((sampler(mixture, x1, noise=noise) - exact).flatten(1).square().mean(1).sqrt().median())

    assert error(recommended(nfe)) < 0.75 * min(
        error(build(name, nfe)) for name in ("ddim", "dpmpp_2m", "plms") if PRESETS[name].min_nfe <= nfe
    )


@pytest.mark.parametrize("nfe", [1, 2])
def test_recommended_leaves_no_noise_at_one_or_two_calls(nfe, gaussian, x1):
    seen = []
    output = recommended(nfe)(gaussian, x1, callback=lambda step, nfe, x, x0_hat: seen.append(x0_hat))
    assert torch.allclose(output, seen[-1], atol=1e-14)
