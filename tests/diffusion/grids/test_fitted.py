"""Grids fitted to spectra: gains against closed forms, and what a fit is worth on its own and on other spectra."""

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.diffusion.grids import fitted as fitted_grid
from audiodiff.diffusion.grids.fitted import Spectrum, error, exact_gain, fit_grid, gain
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.adapted import ScaledInput
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, RectifiedFlow, VarianceExploding

SCHEDULES = [Cosine(), LinearBeta(), RectifiedFlow(), VarianceExploding(), ScaledInput(Cosine(), 0.7)]
VARIANCES = torch.tensor([1e-4, 0.03, 0.5, 2.0], dtype=torch.float64)


def power_law(decades: float, modes: int = 64) -> Spectrum:
    """Log-spaced variances, as the modes of a 1 / f spectrum in octaves, of mean 1."""
    variances = torch.logspace(-decades, 0, modes, dtype=torch.float64)
    return Spectrum(variances / variances.mean())


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def angles(schedule, grid) -> torch.Tensor:
    return torch.tensor([math.atan2(level.sigma, level.alpha) for level in schedule.levels(grid)], dtype=torch.float64)


def evenness(schedule, grid) -> float:
    """The greatest factor between neighboring intervals of the angle."""
    return float((-angles(schedule, grid).diff()).log().diff().abs().max().exp())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "unipc_2", "dpm_3m", "v_3m_pc"])
def test_a_gain_is_what_the_sampler_makes_of_a_gaussian(schedule, name):
    sampler = presets.build(name, 5)
    grid = sampler.default_grid(schedule, 0.9)[:-1]
    grid = torch.cat([grid, grid[-1:] / 2])
    sampler.grid = grid
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    oracle = GaussianOracle(torch.zeros(4), turn @ torch.diag(VARIANCES) @ turn.T, schedule)
    result = sampler(oracle, turn.T.clone())
    expected = gain(sampler, schedule, grid, VARIANCES)
    assert expected.dtype == torch.float64
    torch.testing.assert_close(result @ turn, torch.diag(expected), rtol=1e-9, atol=1e-9)


def test_two_steps_by_hand():
    """From pure noise, whose output is 0, DDIM goes to sqrt(1 / 2) of it, and then to E[x0 | x]."""
    result = gain(DDIM(2), Cosine(), times(1, 0.5, 0), VARIANCES)
    torch.testing.assert_close(result, VARIANCES / (VARIANCES + 1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_exact_gain_is_the_flows(schedule):
    oracle = GaussianOracle(torch.zeros(4), torch.diag(VARIANCES), schedule)
    result = oracle.flow(torch.ones(1, 4, dtype=torch.float64), 0.8, 0.1)[0]
    found = exact_gain(schedule, times(0.8, 0.3, 0.1), oracle.variances)
    torch.testing.assert_close(found, result @ oracle.modes.abs(), rtol=1e-12, atol=0)


def test_from_pure_noise_to_data_the_exact_gain_is_the_standard_deviation():
    torch.testing.assert_close(exact_gain(Cosine(), times(1, 0), VARIANCES), VARIANCES.sqrt(), rtol=1e-14, atol=0)


def test_gains_tend_to_the_exact_ones():
    coarse, fine = (
        error(Multistep(n, 2, "v"), Cosine(), torch.linspace(1, 0, n + 1, dtype=torch.float64), power_law(3))
        for n in (100, 200)
    )
    assert fine < 3e-4 and coarse / fine == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("quiet", [0.0, 0.25, 1.0])
def test_the_error_by_hand(quiet):
    """With DDIM's gains e / (e + 1) of two steps."""
    spectrum = Spectrum(times(1.0, 0.25), times(3, 1))
    off = [1 / 2 - 1, 1 / 5 - 1 / 2]
    absolute = (0.75 * off[0] ** 2 + 0.25 * off[1] ** 2) / (0.75 * 1 + 0.25 * 0.25)
    relative = 0.75 * off[0] ** 2 + 0.25 * (2 * off[1]) ** 2
    expected = math.sqrt((1 - quiet) * absolute + quiet * relative)
    assert error(DDIM(2), Cosine(), times(1, 0.5, 0), spectrum, quiet) == pytest.approx(expected, rel=1e-13)


def test_a_tenth_of_the_error_is_relative():
    spectrum, grid = power_law(4), times(1, 0.5, 0)
    assert error(DDIM(2), Cosine(), grid, spectrum) == error(DDIM(2), Cosine(), grid, spectrum, 0.1)
    sampler = Multistep(4, 2, "v")
    usual, tenth, none = (
        fit_grid(sampler, Cosine(), spectrum, **given) for given in ({}, {"quiet": 0.1}, {"quiet": 0.0})
    )
    assert torch.allclose(usual, tenth, rtol=0, atol=1e-7) and not torch.allclose(usual, none, rtol=0, atol=1e-3)


@cache
def fitted(name: str, calls: int) -> torch.Tensor:
    """A preset's grid for five decades, on the cosine schedule."""
    return fit_grid(presets.build(name, calls), Cosine(), power_law(5))


def noisy():
    return presets.build("dpmpp_2m_sde", 4), DDIM(4, 0.5)


@pytest.mark.parametrize("sampler", noisy(), ids=["sde", "eta"])
def test_noise_has_no_gain(sampler):
    with pytest.raises(ValueError, match="only a deterministic sampler has a gain"):
        fit_grid(sampler, Cosine(), power_law(3))


GAINS = [
    ("v_2m_pc", 5, 2.7),
    ("v_2m_pc", 6, 6.0),
    ("v_2m_pc", 8, 6.0),
    ("v_3m_pc", 10, 7.0),
    ("v_3m_pc", 15, 14.0),
    ("v_3m_pc", 20, 17.0),
    ("dpmpp_2m", 10, 12.0),
    ("unipc_2", 10, 3.0),
]


@pytest.mark.parametrize(("name", "calls", "factor"), GAINS)
def test_on_its_spectrum_a_fitted_grid_is_several_times_as_accurate(name, calls, factor):
    schedule, spectrum, sampler = Cosine(), power_law(5), presets.build(name, calls)
    grid, usual = fitted(name, calls), sampler.default_grid(schedule, 1.0)
    assert grid.shape == (calls + 1,) and grid.dtype == torch.float64
    assert grid[0] == 1 and grid[-1] == 0 and (grid.diff() < 0).all()
    assert evenness(schedule, grid) <= 3 * (1 + 1e-9)
    assert factor < error(sampler, schedule, usual, spectrum) / error(sampler, schedule, grid, spectrum)
    # The two parts of the error fall both.
    for quiet in (0.0, 1.0):
        assert error(sampler, schedule, grid, spectrum, quiet) < error(sampler, schedule, usual, spectrum, quiet)


@pytest.mark.parametrize(("name", "calls"), [("v_2m_pc", 6), ("v_3m_pc", 10), ("v_3m_pc", 20)])
@pytest.mark.parametrize(("decades", "factor"), [(2.0, 0.45), (3.0, 0.75), (4.0, 2.5), (6.0, 1.4)])
def test_on_other_spectra_it_is_worth_less(name, calls, decades, factor):
    """Fitted where variances span five decades: still better a decade off, and half as accurate where they span two."""
    schedule, other, sampler = Cosine(), power_law(decades), presets.build(name, calls)
    grid, usual = fitted(name, calls), sampler.default_grid(schedule, 1.0)
    assert factor * error(sampler, schedule, grid, other) < error(sampler, schedule, usual, other)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_schedule_does_not_matter(schedule):
    """A sampler that interpolates v in the angle is the same on all that start at the same angle."""
    sampler, spectrum = Multistep(6, 2, "v", corrector=True), power_law(4)
    t = [float(s.t_from_log_snr(-6.0)) for s in (Cosine(), schedule)]
    here, there = (
        angles(s, fit_grid(sampler, s, spectrum, start)) for s, start in zip((Cosine(), schedule), t, strict=True)
    )
    torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-6)


PINNED = {
    ("v_3m_pc", 10): [
        1,
        0.87099457,
        0.627559168,
        0.408056144,
        0.242078084,
        0.133446366,
        0.0734269775,
        0.0416357769,
        0.0214564471,
        0.00614597741,
        0,
    ],
    ("dpmpp_2m", 6): [1, 0.901716895, 0.710872142, 0.269341602, 0.0891733812, 0.0223141159, 0],
    ("v_2m_pc", 4): [1, 0.806610156, 0.432265206, 0.115059967, 0],
}


@pytest.mark.parametrize(("name", "calls"), PINNED)
def test_fits_are_as_good_as_those_of_another_optimizer(name, calls):
    """Grids of an optimizer written for this problem: the minimum is flat in the grid, and the error the same."""
    ours, other = fitted(name, calls), times(*PINNED[name, calls])
    torch.testing.assert_close(ours, other, rtol=0, atol=0.02)
    sampler = presets.build(name, calls)
    errors = [error(sampler, Cosine(), grid, power_law(5)) for grid in (ours, other)]
    assert errors[0] < 1.01 * errors[1]


def test_the_fit_starts_from_the_samplers_own_grid():
    spectrum, schedule = power_law(4), Cosine()
    own = times(0.95, 0.6, 0.3, 0.1, 0.02)
    grid = fit_grid(Multistep(4, 2, "v", corrector=True, grid=own), schedule, spectrum, t_max=0.5)
    assert grid[0] == 0.95 and grid[-1] == 0.02
    sampler = Multistep(4, 2, "v", corrector=True)
    assert error(sampler, schedule, grid, spectrum) < error(sampler, schedule, own, spectrum)
    assert fit_grid(sampler, schedule, spectrum, t_max=0.5)[0] == 0.5
    assert fit_grid(sampler, LinearBeta(), spectrum)[0] == LinearBeta().t_max


def test_an_uneven_start_is_made_half_as_uneven_first():
    """Until neighbors differ by a factor of 3 at most; with no error to lower, only evenness pulls at them."""
    own = times(1, 0.9, 0.3, 0.02)
    problem = fitted_grid._Problem(DDIM(3, grid=own), Cosine(), power_law(2), 0.1, own)
    steepest = (-own.diff()).log().diff()
    assert steepest.exp().tolist() == pytest.approx([6, 0.28 / 0.6])
    ratios = (-problem.grid(problem.first()).diff()).log().diff()
    torch.testing.assert_close(ratios, steepest / 2, rtol=1e-9, atol=0)


def test_one_interval_leaves_nothing_to_fit():
    assert fit_grid(DDIM(1), Cosine(), power_law(3)).tolist() == [1, 0]


def test_where_every_grid_is_exact_there_is_nothing_to_gain():
    """v of a single mode of variance 1 is 0 throughout."""
    sampler, spectrum = Multistep(3, 2, "v"), Spectrum(times(1))
    assert error(sampler, Cosine(), fit_grid(sampler, Cosine(), spectrum), spectrum) < 1e-14


def test_two_intervals_are_fitted_exactly():
    """The best of all splits of the angle, up to the share of evenness."""
    sampler, schedule = DDIM(2), Cosine()
    spectrum = Spectrum(times(0.2))
    places = torch.linspace(0.3, 0.7, 401, dtype=torch.float64)

    def value(grid):
        return math.log(error(sampler, schedule, grid, spectrum) ** 2) + (-grid.diff()).log().diff().item() ** 2

    best = min((times(1, place, 0) for place in places.tolist()), key=value)
    assert fit_grid(sampler, schedule, spectrum)[1] == pytest.approx(best[1].item(), abs=5e-3)


def test_a_learned_schedule_gives_numbers():
    grid = fit_grid(Multistep(4, 2, "v"), LearnedSchedule(), power_law(2))
    assert not grid.requires_grad and (grid.diff() < 0).all()


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(["ddim", "dpmpp_2m", "unipc_3", "dpm_2m", "v_3m", "v_2m_pc"]),
    calls=st.integers(3, 6),
    variances=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5),
    cuts=st.lists(st.floats(0.001, 0.999), min_size=7, max_size=7, unique=True),
    quiet=st.floats(0, 1),
)
def test_a_fit_never_makes_things_worse(name, calls, variances, cuts, quiet):
    spectrum, sampler, schedule = Spectrum(times(*variances)), presets.build(name, calls), Cosine()
    for own in (None, times(1.0, *sorted(cuts, reverse=True)[1:calls], 0.0)):
        sampler.grid = own
        start = sampler.default_grid(schedule, 1.0) if own is None else own
        grid = fit_grid(sampler, schedule, spectrum, quiet=quiet)
        assert error(sampler, schedule, grid, spectrum, quiet) <= error(sampler, schedule, start, spectrum, quiet)
        assert grid[0] == 1 and grid[-1] == 0 and (grid.diff() < 0).all()
        assert torch.equal(grid, start) or evenness(schedule, grid) <= 3 * (1 + 1e-6)


def test_a_spectrum_of_powers_keeps_their_total_and_spread():
    powers = torch.arange(1.0, 1001).reshape(10, 100).flip(1)
    spectrum = Spectrum.of_powers(powers)
    assert spectrum.variances.shape == (64,) and spectrum.variances.dtype == torch.float64
    assert float(spectrum.weights.sum()) == pytest.approx(1)
    assert float((spectrum.weights * spectrum.variances).sum()) == pytest.approx(500.5)
    # 1000 in 64 groups: 40 of 16, then 24 of 15.
    assert spectrum.variances[[0, -1]].tolist() == pytest.approx([8.5, 993.0])
    assert (spectrum.weights[[0, -1]] * 1000).tolist() == pytest.approx([16, 15])
    assert Spectrum.of_powers(powers, 2).variances.tolist() == pytest.approx([250.5, 750.5])
    assert Spectrum.of_powers(torch.tensor([2.0, 1.0])).variances.tolist() == [1, 2]
    assert Spectrum.of_powers(torch.tensor([2.0, 1.0]), 1).variances.tolist() == [1.5]


def test_weights_are_shares():
    assert Spectrum(times(1, 2, 3), times(0.25, 0, 0.75)).weights.tolist() == [0.25, 0, 0.75]
    assert Spectrum(times(1, 2), times(9, 1)).weights.tolist() == pytest.approx([0.9, 0.1])
    assert Spectrum([1, 2]).weights.tolist() == [0.5, 0.5]


def test_silence_counts_as_sixty_decibels_below_the_mean():
    spectrum = Spectrum.of_powers(torch.tensor([0.0, 0.0, 1.0, 3.0]), 4)
    assert spectrum.variances.tolist() == pytest.approx([1e-6, 1e-6, 1, 3])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Spectrum(times(1, 0)), "finite and above 0"),
        (lambda: Spectrum(times(1, math.inf)), "finite and above 0"),
        (lambda: Spectrum(times(1, 2), times(1)), r"got \(2,\) and \(1,\)"),
        (lambda: Spectrum(torch.ones(2, 2)), r"got \(2, 2\)"),
        (lambda: Spectrum(times(1, 2), times(1, -1)), "weights must be finite, not below 0"),
        (lambda: Spectrum(times(1, 2), times(1, math.nan)), "weights must be finite, not below 0"),
        (lambda: Spectrum(times(1, 2), times(0, 0)), "not all 0"),
        (lambda: Spectrum.of_powers(torch.zeros(3)), "not all 0"),
        (lambda: Spectrum.of_powers(torch.zeros(0)), "not all 0"),
        (lambda: Spectrum.of_powers(times(1, -1)), "not below 0"),
        (lambda: Spectrum.of_powers(times(1, math.nan)), "finite"),
        (lambda: Spectrum.of_powers(times(1), 0), "at least one mode, got 0"),
        (lambda: fit_grid(DDIM(2), Cosine(), Spectrum(times(1)), quiet=1.5), "quiet .* got 1.5"),
        (lambda: fit_grid(DDIM(2), Cosine(), Spectrum(times(1)), quiet=-0.1), "quiet .* got -0.1"),
    ],
)
def test_what_is_no_spectrum(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_search_stops_where_no_step_helps(monkeypatch):
    """A sampler whose error does not depend on its grid leaves only the evenness to gain."""
    flat = torch.ones(1, dtype=torch.float64)
    monkeypatch.setattr(fitted_grid, "_residuals", lambda *_: flat)
    grid = fit_grid(Multistep(5, 2, "v"), Cosine(), power_law(3))
    assert torch.allclose(grid, Multistep(5, 2, "v").default_grid(Cosine(), 1.0))
