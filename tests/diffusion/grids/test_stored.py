"""Grids that are kept for a sampler."""

import pytest
import torch

from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError


def test_the_sampler_uses_exactly_these_times():
    times = [1.0, 0.7, 1 / 3, 0.0]
    stored = StoredGrid("v_2m_pc", 3, times)
    assert (stored.sampler, stored.steps, stored.times) == ("v_2m_pc", 3, tuple(times))
    sampler = stored.build()
    assert sampler.grid.tolist() == times and sampler.grid.dtype == torch.float64
    oracle = GaussianOracle(torch.zeros(2), torch.eye(2), Cosine())
    x1 = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    own = Multistep(3, 2, "v", torch.tensor(times, dtype=torch.float64), corrector=True)
    assert torch.equal(sampler(oracle, x1), own(oracle, x1))
    assert presets.build("v_2m_pc", 3).grid is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("v_2m_pc", 3, [1, 0.5, 0]), "needs 4 times, got 3"),
        (("v_2m_pc", 2, [1, 0.5, 0.5]), "must fall strictly"),
        (("v_2m_pc", 2, [1.5, 0.5, 0]), r"\[0, 1\]"),
        (("v_2m_pc", 1, [1, 0]), "v_2m_pc needs at least 2"),
        (("magic", 2, [1, 0.5, 0]), "sampler 'magic'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        StoredGrid(*arguments)


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 20, 30, 50])
def test_recommended_stands_for_the_same_sampler_as_in_the_presets(calls):
    one, other = presets.build(presets.chosen("recommended", calls), calls), presets.build("recommended", calls)
    assert type(one) is type(other) and vars(one) == vars(other)
    assert presets.chosen("dpmpp_2m", calls) == "dpmpp_2m"


def test_no_steps_are_refused_later():
    with pytest.raises(UserError, match="steps 0: is below 1"):
        presets.build(presets.chosen("recommended", 0), 0)
